"""Airflow's REST API: of version 2 (Airflow 3), or where that is not there of version 1 (Airflow 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from requests.auth import HTTPBasicAuth

from chm_web.ingestion.client import (
    Answer,
    HttpClient,
    ItemNotFound,
    SourceBusy,
    SourceRefused,
    SourceUnreachable,
    TokenAuth,
)
from chm_web.ingestion.platforms import airflow_mapper
from chm_web.ingestion.platforms.pages import MAX_PAGES, RunsPage, path_part
from chm_web.services.redaction import remember_secret

CURSORS_SINCE = (3, 2)
# Every DAG that the credentials may read.
_ALL = "~"
_CURSOR, _OFFSET = "cursor:", "offset:"


class AirflowFeed:
    """The DAG runs of one Airflow. Asks for its version and signs in when it is made.

    Raises:
        SourceError: it does not answer, or does not let us in.
    """

    map_run = staticmethod(airflow_mapper.map_run)
    run_id_of = staticmethod(airflow_mapper.run_id_of)
    external_id_of = staticmethod(airflow_mapper.external_id_of)

    def __init__(self, client: HttpClient, *, username: str | None, password: str | None, page_size: int) -> None:
        self._client = client
        self._credentials = (username, password) if username and password else None
        self._page_size = page_size
        self._renewed_after_403 = False
        self.version = self._ask_version()
        self._is_first_api = self.version < (3,)
        self._api = "/api/v1" if self._is_first_api else "/api/v2"
        if self._credentials and self._is_first_api:
            client.authenticate(HTTPBasicAuth(*self._credentials))
        elif self._credentials:
            self._sign_in(*self._credentials)

    def pages(
        self, *, since: datetime | None, cursor: str | None = None, external_id: str | None = None
    ) -> Iterator[RunsPage]:
        """Read all runs that changed since ``since``, page by page from ``cursor`` on; of one DAG, or of all.

        They come in the order in which they were made: a run that changes meanwhile keeps its place, and others are
        not moved across the border of two pages. A run that joins the feed behind us is the next cycle's.

        Raises:
            SourceError: a page cannot be read, or the feed never ends.
        """
        path = f"/dags/{path_part(external_id) if external_id else _ALL}/dagRuns"
        params: dict[str, str | int] = {"limit": self._page_size, "order_by": "id"}
        if since is not None:
            params["updated_at_gte"] = since.isoformat()
        cursor = cursor or (_CURSOR if self.version >= CURSORS_SINCE else f"{_OFFSET}0")
        seen: set[str] = set()
        for _ in range(MAX_PAGES):
            name, _, place = cursor.partition(":")
            answer = self._get(path, {**params, name: place})
            seen.add(cursor)
            runs, following = _check_page(answer.body, cursor)
            yield RunsPage(runs, answer.server_time, following)
            if following is None:
                return
            if following in seen:
                raise SourceUnreachable(f"Airflow's cursor goes round in a circle after {len(seen)} pages.")
            cursor = following
        raise SourceUnreachable(f"Airflow's feed does not end: stopped after {MAX_PAGES:,} pages.")

    def fetch(self, external_id: str, run_id: str) -> Any:
        """Give one run as it is now; None when Airflow does not know it any more.

        Raises:
            SourceError: Airflow cannot be read.
        """
        try:
            return self._get(_run_path(external_id, run_id), {}).body
        except ItemNotFound:
            return None

    def error_text(self, external_id: str, run_id: str) -> str | None:
        """Tell why a run failed: the task that failed first, and what its log says. None when Airflow does not tell.

        Raises:
            ItemNotFound: it does not know the run.
            SourceError: Airflow cannot be read.
        """
        path = f"{_run_path(external_id, run_id)}/taskInstances"
        found = self._get(path, {"state": "failed", "limit": self._page_size}).body
        failed = airflow_mapper.first_failure(found)
        if failed is None:
            return None
        said = None if self._is_first_api else self._logged_error(path, failed)
        return f"{failed['task_id']}: {said}" if said else f"{failed['task_id']} failed"

    def _logged_error(self, path: str, task: Mapping[str, Any]) -> str | None:
        params = {} if task.get("map_index") in (None, -1) else {"map_index": task["map_index"]}
        try:
            path = f"{path}/{path_part(task['task_id'])}/logs/{path_part(str(task.get('try_number') or 1))}"
            return airflow_mapper.logged_error(self._get(path, params).body)
        except SourceBusy:
            raise
        except (SourceRefused, SourceUnreachable, ItemNotFound):
            # A log that is gone, too long or not for us costs the better text alone.
            return None

    def _ask_version(self) -> tuple[int, ...]:
        """Give Airflow's version. Both APIs tell it to whoever asks."""
        try:
            body = self._client.get("/api/v2/version", {}).body
        except ItemNotFound:
            body = self._client.get("/api/v1/version", {}).body
        said = body.get("version") if isinstance(body, dict) else None
        numbers = [int(part) for part in str(said).split(".")[:2] if part.isascii() and part.isdigit()]
        if len(numbers) != 2:
            raise SourceUnreachable("What answers there does not tell Airflow's version: is it Airflow?")
        return tuple(numbers)

    def _get(self, path: str, params: Mapping[str, str | int]) -> Answer:
        try:
            return self._client.get(self._api + path, params)
        except SourceRefused as err:
            if self._credentials is None or not self._may_renew(err.status):
                raise
            self._sign_in(*self._credentials)
        return self._client.get(self._api + path, params)

    def _may_renew(self, status: int) -> bool:
        """Whether a new sign-in may help. A 403 rarely means the token, so for that one try must do."""
        if self._is_first_api:
            return False
        if status == 403:
            first, self._renewed_after_403 = not self._renewed_after_403, True
            return first
        return True

    def _sign_in(self, username: str, password: str) -> None:
        try:
            body = self._client.post("/auth/token", {"username": username, "password": password}).body
        except SourceRefused as err:
            raise SourceRefused(f"Airflow refuses the user name or the password. {err}", err.status) from err
        except ItemNotFound as err:
            raise SourceUnreachable(
                "Airflow has no sign-in at /auth/token. Give the source a token instead of a user name and a password."
            ) from err
        token = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not token:
            raise SourceUnreachable("Airflow's sign-in gave no access_token.")
        remember_secret(token)
        self._client.authenticate(TokenAuth(token))


def _run_path(external_id: str, run_id: str) -> str:
    return f"/dags/{path_part(external_id)}/dagRuns/{path_part(run_id)}"


def _check_page(body: Any, cursor: str) -> tuple[list[Any], str | None]:
    """Give a page's runs, and what to ask for next."""
    runs = body.get("dag_runs") if isinstance(body, dict) else None
    if not isinstance(runs, list):
        raise SourceUnreachable('Airflow answered something else than {"dag_runs": [...]}.')
    if cursor.startswith(_CURSOR):
        following = body.get("next_cursor")
        return runs, f"{_CURSOR}{following}" if following else None
    # By what came, not by what was asked for: Airflow gives fewer than that without a word.
    place = int(cursor.removeprefix(_OFFSET)) + len(runs)
    total = body.get("total_entries")
    is_last = not runs or (isinstance(total, int) and place >= total)
    return runs, None if is_last else f"{_OFFSET}{place}"
