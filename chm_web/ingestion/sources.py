"""The sources of runs, as the deployment's configuration names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from chm_web.config import Config, ConfigError
from chm_web.models import Platform

# A source that is read pipeline by pipeline is split into this many shards, so that several workers can share it.
SHARDS = 4


@dataclass(frozen=True, kw_only=True)
class Source:
    """One place to read runs from. ``platforms``: the pipelines it is asked for are those on these platforms."""

    name: str
    base_url: str
    token: str | None = field(repr=False)
    platforms: tuple[Platform, ...]
    page_size: int
    kind: str = "partner"

    @property
    def address(self) -> str:
        """Where it is read from, without what could be a secret: no user and no query."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def sources_of(config: Config) -> tuple[Source, ...]:
    """Give the configured sources: for now the one partner of ``CHM_PARTNER_API_BASE_URL``, or none.

    Raises:
        ConfigError: a platform is not one of ours.
    """
    if config.partner_api_base_url is None:
        return ()
    try:
        platforms = tuple(Platform(name) for name in config.partner_api_platforms)
    except ValueError as err:
        raise ConfigError(f"CHM_PARTNER_API_PLATFORMS: {err}. Use {', '.join(Platform)}.") from None
    return (
        Source(
            name="partner",
            base_url=config.partner_api_base_url,
            token=config.partner_api_token,
            platforms=platforms,
            page_size=config.partner_page_size,
        ),
    )
