"""The sources of runs: what each is, and what each kind of them takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from urllib.parse import urlsplit, urlunsplit

from chm_web.models import Platform

# A source that is read pipeline by pipeline is split into this many shards, so that several workers can share it.
SHARDS = 4


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a kind of source takes.

    ``credentials``: the sets of settings that let it in, any one of them; the empty set where it may go without.
    ``is_account``: all runs of an account come in one feed; else each pipeline has its own.
    ``needs_account_id``: which account it is has to be told.
    ``rest_seconds``: for how long it is left alone when it asks for a pause without saying for how long.
    ``least_interval``: the seconds between two readings by the schedule, at least.
    """

    credentials: tuple[frozenset[str], ...]
    platforms: tuple[Platform, ...]
    page_size: int
    max_page_size: int
    is_account: bool = False
    needs_account_id: bool = False
    rest_seconds: float = 30.0
    least_interval: int = 0


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "partner": Kind(
            credentials=(frozenset({"token"}), frozenset()),
            platforms=(Platform.VENDOR_API,),
            page_size=500,
            max_page_size=10_000,
        ),
        "airflow": Kind(
            credentials=(frozenset({"username", "password"}), frozenset({"token"})),
            platforms=(Platform.AIRFLOW,),
            page_size=100,
            max_page_size=100,
            is_account=True,
            # Airflow looks for what has changed without an index.
            least_interval=30,
        ),
        "dbt_cloud": Kind(
            credentials=(frozenset({"token"}),),
            platforms=(Platform.DBT,),
            page_size=100,
            max_page_size=100,
            is_account=True,
            needs_account_id=True,
            rest_seconds=300.0,
        ),
    }
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One place to read runs from.

    ``platforms``: the pipelines it is asked for are those on these platforms; ``client``: of this client alone, by
    name or id; ``interval``: seconds between two readings by the schedule, where it is not to be read each time (what
    comes of it, and of its kind, is its ``least_interval``);
    ``account_id``: of the kinds that need one; ``concurrency``: of a kind that is read pipeline by pipeline, how many
    of them are asked for at once by each of its shards.
    """

    name: str
    base_url: str
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    platforms: tuple[Platform, ...]
    page_size: int
    kind: str = "partner"
    account_id: str | None = None
    client: str | None = None
    interval: int | None = None
    concurrency: int = 4
    paused: bool = False

    @property
    def address(self) -> str:
        """Where it is read from, without what could be a secret: no user and no query."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """Everything in here that must never be shown, stored or logged."""
        return (self.token, self.password)

    @property
    def least_interval(self) -> timedelta:
        """How long the schedule leaves it alone after a reading, at least."""
        return timedelta(seconds=max(self.interval or 0, KINDS[self.kind].least_interval))

    @property
    def is_account(self) -> bool:
        """Whether all its runs come in one feed."""
        return KINDS[self.kind].is_account

    def may_share_pipelines_with(self, other: Source) -> bool:
        """Whether a pipeline may be taken for one of either's: which of two accounts it is in, nobody tells."""
        return (
            self.name != other.name
            and not set(self.platforms).isdisjoint(other.platforms)
            and (self.client is None or other.client is None or self.client == other.client)
        )

    @property
    def shards(self) -> int:
        """Into how many parts its reading may be split."""
        return 1 if self.is_account else SHARDS
