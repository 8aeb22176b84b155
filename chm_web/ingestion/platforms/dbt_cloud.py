"""dbt Cloud's Admin API of version 2: the runs of all jobs of one account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from chm_web.ingestion.client import Answer, HttpClient, ItemNotFound, SourceUnreachable, TokenAuth
from chm_web.ingestion.platforms import dbt_cloud_mapper
from chm_web.ingestion.platforms.pages import MAX_PAGES, RunsPage, path_part

# There is no filter on the time of change. Whatever changed since a moment was made or has ended since then, or is
# still under way: the last are asked for one by one.
_ALL, _CHANGED = ("all",), ("created_at", "finished_at")
# A range needs an end. Nothing has it that may be there when the pages are read, whatever the platform's clock says.
_AHEAD = timedelta(days=2)


class DbtCloudFeed:
    """The runs of one dbt Cloud account. ``token``: one that may read its jobs and runs."""

    map_run = staticmethod(dbt_cloud_mapper.map_run)
    run_id_of = staticmethod(dbt_cloud_mapper.run_id_of)
    external_id_of = staticmethod(dbt_cloud_mapper.external_id_of)

    def __init__(self, client: HttpClient, *, account_id: str, token: str, page_size: int) -> None:
        self._client = client
        self._account_id = account_id
        self._runs = f"/api/v2/accounts/{path_part(account_id)}/runs/"
        self._page_size = page_size
        client.authenticate(TokenAuth(token, scheme="Token"))

    def pages(
        self, *, since: datetime | None, cursor: str | None = None, external_id: str | None = None
    ) -> Iterator[RunsPage]:
        """Read all runs that were made or ended since ``since``, page by page from ``cursor`` on; of one job or all.

        They come by their ids, those that were made before those that have ended. A run that joins what was read
        already moves others back by one: the last one of a page comes a second time, and none is left out.

        Raises:
            ItemNotFound: an ``external_id`` that no job can have.
            SourceError: a page cannot be read, or the feed never ends.
        """
        params: dict[str, str | int] = {"limit": self._page_size, "order_by": "id"}
        if external_id is not None:
            params["job_definition_id"] = _job_id(external_id)
        legs = _ALL if since is None else _CHANGED
        leg, place = _parse_cursor(cursor, legs)
        for _ in range(MAX_PAGES):
            window = {} if since is None else {f"{leg}__range": _range_from(since)}
            answer = self._list({**params, **window, "offset": place})
            runs, is_last = _check_page(answer.body, place)
            following = None if is_last else f"{leg}:{place + len(runs)}"
            if is_last and leg != legs[-1]:
                following = f"{legs[legs.index(leg) + 1]}:0"
            yield RunsPage(runs, answer.server_time, following)
            if following is None:
                return
            leg, place = _parse_cursor(following, legs)
        raise SourceUnreachable(f"dbt Cloud's feed does not end: stopped after {MAX_PAGES:,} pages.")

    def fetch(self, external_id: str, run_id: str) -> Any:
        """Give one run as it is now; None when dbt Cloud does not know it any more.

        Raises:
            SourceError: dbt Cloud cannot be read.
        """
        return self._run(run_id, {})

    def error_text(self, external_id: str, run_id: str) -> str | None:
        """Tell why a run failed: its message, else the first step that failed with the end of its log.

        Raises:
            ItemNotFound: it does not know the run.
            SourceError: dbt Cloud cannot be read.
        """
        run = self._run(run_id, {"include_related": json.dumps(["run_steps"])})
        if run is None:
            raise ItemNotFound(f"dbt Cloud has no run {run_id[:60]!r}.")
        if not isinstance(run, dict):
            return None
        said = run.get("status_message")
        return said if isinstance(said, str) and said else dbt_cloud_mapper.failed_step(run)

    def _run(self, run_id: str, params: dict[str, str | int]) -> Any:
        try:
            body = self._client.get(f"{self._runs}{path_part(run_id)}/", params).body
        except ItemNotFound:
            return None
        return body.get("data") if isinstance(body, dict) else None

    def _list(self, params: dict[str, str | int]) -> Answer:
        try:
            return self._client.get(self._runs, params)
        except ItemNotFound as err:
            # dbt Cloud hides what somebody may not see.
            raise SourceUnreachable(
                f"dbt Cloud has no account {self._account_id} at this address, or the token may not read its runs. "
                f"{err}"
            ) from err


def _job_id(external_id: str) -> str:
    if not (external_id.isascii() and external_id.isdigit()):
        raise ItemNotFound(f"{external_id[:60]!r} is no job of dbt Cloud's: their ids are numbers.")
    return external_id


def _range_from(since: datetime) -> str:
    return json.dumps([since.isoformat(), (max(since, datetime.now(UTC)) + _AHEAD).isoformat()])


def _parse_cursor(cursor: str | None, legs: tuple[str, ...]) -> tuple[str, int]:
    """Give the part of the feed and the number of its runs that a cursor stands behind."""
    leg, _, place = (cursor or f"{legs[0]}:0").partition(":")
    if leg not in legs or not place.isdecimal():
        raise SourceUnreachable("This place in dbt Cloud's feed means nothing any more.")
    return leg, int(place)


def _check_page(body: Any, place: int) -> tuple[list[Any], bool]:
    """Give a page's runs, and whether it is the last one."""
    runs = body.get("data") if isinstance(body, dict) else None
    if not isinstance(runs, list):
        raise SourceUnreachable('dbt Cloud answered something else than {"data": [...]}.')
    extra = body.get("extra")
    pagination = extra.get("pagination") if isinstance(extra, dict) else None
    total = pagination.get("total_count") if isinstance(pagination, dict) else None
    return runs, not runs or (isinstance(total, int) and place + len(runs) >= total)
