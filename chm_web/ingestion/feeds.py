"""Which adapter reads which kind of account."""

from __future__ import annotations

from collections.abc import Callable

from chm_web.ingestion.account import Feed
from chm_web.ingestion.client import HttpClient
from chm_web.ingestion.platforms.airflow import AirflowFeed
from chm_web.ingestion.platforms.dbt_cloud import DbtCloudFeed
from chm_web.ingestion.sources import Source


def open_feed(source: Source, client: HttpClient) -> Feed:
    """Open the feed of an account, signed in.

    Raises:
        SourceError: the platform does not answer, or does not let us in.
    """
    return FEEDS[source.kind](source, client)


def _airflow(source: Source, client: HttpClient) -> Feed:
    return AirflowFeed(client, username=source.username, password=source.password, page_size=source.page_size)


def _dbt_cloud(source: Source, client: HttpClient) -> Feed:
    # The sources' file is refused without them.
    return DbtCloudFeed(
        client, account_id=source.account_id or "", token=source.token or "", page_size=source.page_size
    )


FEEDS: dict[str, Callable[[Source, HttpClient], Feed]] = {"airflow": _airflow, "dbt_cloud": _dbt_cloud}
"""By the kinds of sources that are accounts."""
