"""Tries a source before it is relied on: its address, its credentials, a first page."""

from __future__ import annotations

from chm_web.config import Config
from chm_web.ingestion.client import HttpClient, ItemNotFound
from chm_web.ingestion.feeds import open_feed
from chm_web.ingestion.job import open_client
from chm_web.ingestion.platforms import partner
from chm_web.ingestion.progress import SyncScope
from chm_web.ingestion.sources import Source
from chm_web.ingestion.targets import targets_of

# Asked for where nothing is registered yet: who says that there is no such thing has let us in.
_NOBODY = "chm-check"
_WELL = "It answers and lets us in."


def check_source(source: Source, config: Config) -> str:
    """Ask a source for a first page, and tell in words what it serves. Nothing is recorded.

    Raises:
        SourceError: it cannot be read; the message says why.
        NotFound: the client that it is bound to is not there.
        OperationalError: the database does not answer.
    """
    targets = targets_of(source, SyncScope())
    with open_client(source, config) as client:
        if source.is_account:
            next(open_feed(source, client).pages(since=None))
        else:
            _try_partner(client, targets[0].external_id if targets else _NOBODY)
    if not targets:
        return f"{_WELL} No active pipeline with an external id is on {', '.join(source.platforms)} here."
    return f"{_WELL} It serves {len(targets):,} pipeline{'' if len(targets) == 1 else 's'}."


def _try_partner(client: HttpClient, external_id: str) -> None:
    try:
        next(partner.read_pages(client, external_id, updated_since=None, limit=1))
    except ItemNotFound:
        if external_id != _NOBODY:
            raise
