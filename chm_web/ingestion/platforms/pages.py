"""What all feeds have in common: pages, and parts of paths."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from chm_web.ingestion.client import ItemNotFound

# A feed that goes on beyond this is taken for one that never ends (20 million runs in pages of 1,000).
MAX_PAGES = 20_000


@dataclass(frozen=True)
class RunsPage:
    """One page of a feed, the platform's clock when it was given, and the next page's cursor."""

    runs: list[Any]
    server_time: datetime | None
    next_cursor: str | None


def path_part(external_id: str) -> str:
    """Give an id as one part of a path.

    Raises:
        ItemNotFound: no path can hold it.
    """
    if not external_id.strip("."):
        # HTTP clients take "." and ".." for steps in the path, percent-encoded or not.
        raise ItemNotFound("An id that consists of dots cannot be asked for.")
    return quote(external_id, safe="")
