"""HTTP to the platforms: one Session, time-outs, bounded retries with backoff and jitter, errors in plain words."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import requests
import tenacity
import urllib3
from requests.auth import AuthBase

from chm_web.services.redaction import redact_text

log = logging.getLogger(__name__)

# A wait this short is slept where we are; a longer one is the queue's business.
SHORT_WAIT_SECONDS = 5.0
MAX_WAIT_SECONDS = 3600.0
# A body may not trickle in for ever, however short the pauses between its bytes.
BODY_TIMEOUT_FACTOR = 4
_CHUNK = 256 * 1024
_RETRIED_STATUSES = frozenset({500, 502, 503, 504})


class SourceError(Exception):
    """A platform could not be read. The message is for people: it says what happened, and holds no secret."""


class SourceRefused(SourceError):
    """The platform does not let us in: nothing else of this source can be read either. ``status``: 401 or 403."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class SourceUnreachable(SourceError):
    """The platform does not answer properly, after all retries."""


class SourceBusy(SourceError):
    """The platform asks for a pause longer than a worker may sleep. ``retry_after`` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ItemNotFound(SourceError):
    """The platform does not know what was asked for; the rest of the source can be read."""


class _Transient(SourceUnreachable):
    """Worth another try."""


class TokenAuth(AuthBase):
    """Sends ``Authorization: Bearer``, or another ``scheme``, with a token.

    As an auth object, so that no ``.netrc`` of the machine takes its place.
    """

    def __init__(self, token: str, scheme: str = "Bearer") -> None:
        self._value = f"{scheme} {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header to a request."""
        request.headers["Authorization"] = self._value
        return request


class _Session(requests.Session):
    """Takes a redirect for an answer like others: ``requests`` would read its whole body, however long."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Say that there is none."""
        return None


@dataclass(frozen=True)
class Answer:
    """A platform's JSON answer, and the time on its clock when it gave it (None when it does not say)."""

    body: Any
    server_time: datetime | None


class HttpClient:
    """Reads JSON from one platform. Use it as a context manager: it holds connections open.

    ``rest``: for how many seconds it is left alone when it asks for a pause without saying for how long.
    ``place``: entered for the length of each request; it may let it wait, or raise SourceBusy.
    """

    def __init__(
        self,
        *,
        base_url: str,
        auth: AuthBase | None,
        connect_timeout: float,
        read_timeout: float,
        max_retries: int,
        backoff: float,
        max_bytes: int,
        rest: float,
        place: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._base_url = base_url
        self._host = urlsplit(base_url).hostname or base_url
        self._timeouts = (connect_timeout, read_timeout)
        self._max_bytes = max_bytes
        self._session = _Session()
        self._rest = rest
        self._place = place
        self._session.auth = auth
        self._session.headers.update({"Accept": "application/json", "User-Agent": "chm"})
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(1 + max_retries),
            wait=tenacity.wait_exponential(multiplier=backoff, max=SHORT_WAIT_SECONDS)
            + tenacity.wait_random(0, backoff),
            retry=tenacity.retry_if_exception_type(_Transient),
            reraise=True,
        )

    def __enter__(self) -> Self:
        """Give the client itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        """Close the connections."""
        self._session.close()

    def authenticate(self, auth: AuthBase) -> None:
        """Send these credentials from now on."""
        self._session.auth = auth

    def get(self, path: str, params: Mapping[str, str | int]) -> Answer:
        """GET ``path`` (already percent-encoded, below the base URL) and read the JSON answer.

        Raises:
            SourceRefused: 401 or 403.
            ItemNotFound: 404.
            SourceBusy: 429 (or 503 with Retry-After) that asks for a longer pause.
            SourceUnreachable: no proper answer, after bounded retries.
        """
        return self._retrying(self._send_once, requests.Request("GET", self._base_url + path, params=params))

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """POST ``body`` as JSON and read the JSON answer. Only what may be sent twice: it is tried again as a GET is.

        Raises:
            SourceError: as of a GET.
        """
        return self._retrying(self._send_once, requests.Request("POST", self._base_url + path, json=body))

    def _send_once(self, request: requests.Request) -> Answer:
        try:
            prepared = self._session.prepare_request(request)
            settings = self._session.merge_environment_settings(prepared.url, {}, True, None, None)
            with (
                self._place(),
                self._session.send(prepared, **settings, timeout=self._timeouts, allow_redirects=False) as response,
            ):
                body = self._read(response)
            # Without the place: a pause that is kept here takes it from nobody.
            self._check_status(response, body)
            return Answer(self._decode(response, body), _http_date(response.headers.get("Date")))
        except requests.exceptions.ConnectTimeout as err:
            raise _Transient(f"{self._host} did not accept a connection within {self._timeouts[0]:g} s.") from err
        except urllib3.exceptions.ReadTimeoutError as err:
            raise _Transient(f"{self._host} stopped in the middle of its answer.") from err
        except urllib3.exceptions.HTTPError as err:
            raise _Transient(f"The answer of {self._host} was cut short or damaged.") from err
        except requests.exceptions.Timeout as err:
            raise _Transient(f"{self._host} did not answer within {self._timeouts[1]:g} s.") from err
        except requests.exceptions.SSLError as err:
            raise SourceUnreachable(f"No trusted TLS connection to {self._host}: {_reason(err)}") from err
        except requests.exceptions.ConnectionError as err:
            raise _Transient(f"No connection to {self._host}: {_reason(err)}") from err
        except requests.exceptions.RequestException as err:
            raise SourceUnreachable(f"The request to {self._host} failed: {_reason(err)}") from err

    def _read(self, response: requests.Response) -> bytes:
        chunks: list[bytes] = []
        size = 0
        deadline = time.monotonic() + BODY_TIMEOUT_FACTOR * self._timeouts[1]
        # What has come so far, at most: a call that waits for a full chunk would look at the clock too late.
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_bytes:
                raise SourceUnreachable(
                    f"{self._host} sent more than {self._max_bytes:,} bytes in one answer. Ask for smaller pages "
                    "(page_size, or CHM_PARTNER_PAGE_SIZE) or raise CHM_HTTP_MAX_RESPONSE_BYTES."
                )
            if time.monotonic() > deadline:
                raise _Transient(f"{self._host} sent its answer too slowly.")
        return b"".join(chunks)

    def _check_status(self, response: requests.Response, body: bytes) -> None:
        status = response.status_code
        if status in (requests.codes.ok, requests.codes.created):
            return
        said = _excerpt(body)
        if status in (401, 403):
            why = "the credentials are missing, wrong or expired" if status == 401 else "they may not read this"
            raise SourceRefused(f"{self._host} refused access ({status}): {why}.{said}", status)
        if status == 404:
            raise ItemNotFound(f"{self._host} does not know it (404).{said}")
        wait = parse_retry_after(response.headers.get("Retry-After"))
        if status == 429 or (status == 503 and wait is not None):
            self._respect(wait, status)
        if status in _RETRIED_STATUSES:
            raise _Transient(f"{self._host} has an error of its own ({status}).{said}")
        if 300 <= status < 400:
            raise SourceUnreachable(
                f"{self._host} redirects elsewhere ({status}); put the final address in the configuration."
            )
        raise SourceUnreachable(f"{self._host} did not accept the request ({status}).{said}")

    def _respect(self, wait: float | None, status: int) -> None:
        """Sleep a short pause that the platform asks for and try again; leave a longer one to the queue."""
        if wait is not None and wait <= SHORT_WAIT_SECONDS:
            time.sleep(wait)
            raise _Throttled(f"{self._host} still asks for a pause ({status}).", max(wait, 1.0))
        wait = min(self._rest if wait is None else wait, MAX_WAIT_SECONDS)
        raise SourceBusy(f"{self._host} asks for a pause of {math.ceil(wait)} s ({status}).", wait)

    def _decode(self, response: requests.Response, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as err:
            kind = response.headers.get("Content-Type", "no content type").split(";")[0][:80]
            raise _Transient(f"{self._host} answered something that is not JSON ({kind}).{_excerpt(body)}") from err


class _Throttled(_Transient, SourceBusy):
    """Short pauses did not help: worth another try here, and after the last one a matter for the queue."""

    def __init__(self, message: str, retry_after: float) -> None:
        SourceBusy.__init__(self, message, retry_after)


def parse_retry_after(value: str | None) -> float | None:
    """Read a Retry-After header leniently: whole or broken seconds, or a date. None when it says nothing usable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        moment = _http_date(value)
        if moment is None:
            return None
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _http_date(value: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _excerpt(body: bytes) -> str:
    """What the platform said of it, short and without secrets: it may echo our token."""
    said = " ".join(redact_text(body[:2000].decode("utf-8", "replace")).split())[:200]
    return f" It said: {said}" if said else ""


def _reason(err: BaseException) -> str:
    """The innermost reason of a chain of wrapped network errors."""
    cause: BaseException | None = err
    while cause is not None:
        err, cause = cause, cause.__cause__ or cause.__context__
    return redact_text(str(err) or type(err).__name__)[:200]
