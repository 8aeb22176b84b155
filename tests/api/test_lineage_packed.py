"""OpenLineage events packed by gzip, and what only looks like it."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from chm_web.models import Pipeline, RunStatus
from tests.api.envelope import INVALID, issues, refusal
from tests.factories import find_run
from tests.http import ApiClient
from tests.ingestion.lineage import RUN_ID, make_event

PLAIN = json.dumps(make_event()).encode()
PACKED = gzip.compress(PLAIN)
TOO_LARGE = (413, "payload_too_large")
UNSUPPORTED = (415, "unsupported_media_type")


def post_packed(api: ApiClient, body: bytes, *, encoding: str = "gzip", path: str = "/lineage") -> TestResponse:
    """Send bytes as they are under a Content-Encoding."""
    return api.post(path, data=body, content_type="application/json", headers={"Content-Encoding": encoding})


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip ", "x-gzip"])
def test_packed_event_is_taken(api: ApiClient, orders: Pipeline, encoding: str) -> None:
    assert post_packed(api, PACKED, encoding=encoding).status_code == 201
    assert find_run(orders.id, RUN_ID).status is RunStatus.SUCCESS


def test_packed_batch_is_taken(api: ApiClient, orders: Pipeline) -> None:
    response = post_packed(api, gzip.compress(json.dumps([make_event()]).encode()), path="/lineage/batch")

    assert response.status_code == 200
    assert response.get_json()["created"] == 1


def test_identity_is_no_encoding(api: ApiClient, orders: Pipeline) -> None:
    assert post_packed(api, PLAIN, encoding="identity").status_code == 201


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "gzip, br"])
def test_other_encodings_are_refused(api: ApiClient, encoding: str) -> None:
    assert refusal(post_packed(api, PACKED, encoding=encoding)) == UNSUPPORTED


BROKEN: dict[str, bytes] = {
    "plain": PLAIN,
    "empty": b"",
    "half": PACKED[: len(PACKED) // 2],
    "without its end": PACKED[:-1],
    "wrong checksum": PACKED[:-8] + b"\0" * 8,
    "more behind it": PACKED + b"x",
    "two": PACKED + PACKED,
    "zlib": zlib.compress(PLAIN),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_gzip_is_invalid(api: ApiClient, case: str) -> None:
    response = post_packed(api, BROKEN[case])

    assert refusal(response) == INVALID
    assert issues(response)["body"].startswith("Not valid gzip")


def test_packed_words_are_invalid(api: ApiClient) -> None:
    assert issues(post_packed(api, gzip.compress(b"words"))) == {"body": "Invalid JSON body."}


@pytest.fixture
def limit(app: Flask) -> Iterator[int]:
    """A limit of 1 MiB."""
    before = app.config["MAX_CONTENT_LENGTH"]
    app.config["MAX_CONTENT_LENGTH"] = 2**20
    yield 2**20
    app.config["MAX_CONTENT_LENGTH"] = before


def test_packed_body_is_limited_by_its_size_unpacked(api: ApiClient, orders: Pipeline, limit: int) -> None:
    largest = PLAIN + b" " * (limit - len(PLAIN))

    assert post_packed(api, gzip.compress(largest)).status_code == 201
    assert refusal(post_packed(api, gzip.compress(largest + b" "))) == TOO_LARGE


def test_bomb_is_refused_without_being_unpacked(api: ApiClient, limit: int) -> None:
    bomb = gzip.compress(b" " * (100 * limit))
    assert len(bomb) < limit

    tracemalloc.start()
    response = post_packed(api, bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert refusal(response) == TOO_LARGE
    assert peak < 10 * limit
