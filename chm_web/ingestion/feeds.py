"""Which adapter reads which kind of account."""

from __future__ import annotations

from chm_web.ingestion.account import Feed
from chm_web.ingestion.client import HttpClient
from chm_web.ingestion.platforms.airflow import AirflowFeed
from chm_web.ingestion.sources import Source


def open_feed(source: Source, client: HttpClient) -> Feed:
    """Open the feed of an account, signed in.

    Raises:
        SourceError: the platform does not answer, or does not let us in.
    """
    return AirflowFeed(client, username=source.username, password=source.password, page_size=source.page_size)
