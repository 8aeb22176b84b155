"""A disk that is really full in the middle of an ingestion: a small one, with PostgreSQL's files on it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from chm_web.extensions import db
from chm_web.ingestion.progress import JobState
from chm_web.ingestion.queue import get_job, request_sync
from tests.factories import make_pipeline
from tests.ingestion.conftest import wait_until
from tests.ingestion.house import (
    EVERYTHING,
    PAGES,
    SIZE,
    House,
    open_house,
    press_until_finished,
    rows_of,
    undisturbed_rows,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 200 MiB, which PostgreSQL's account can enter."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root on Linux")
    directory = Path(tempfile.mkdtemp(prefix="small-disk-"))
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=200m,mode=755", "tmpfs", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        directory.rmdir()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["/bin/umount", str(directory)], check=True)
    directory.rmdir()


@pytest.fixture
def house(tmp_path: Path, httpserver: HTTPServer, tokens_file: Path, small_disk: Path) -> Iterator[House]:
    """Everything, running, with the database on the small disk."""
    with open_house(tmp_path, httpserver, tokens_file, database_dir=small_disk / "database") as found:
        yield found


def fill(path: Path) -> None:
    """Write a file until its disk has no block left."""
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return


def test_a_full_disk_ends_the_job_with_a_reason_and_loses_nothing(house: House, small_disk: Path) -> None:
    pipeline = make_pipeline()
    ballast = small_disk / "ballast"

    def fill_once(number: int) -> None:
        if number == 3 and not ballast.exists():
            fill(ballast)

    house.on_page = fill_once
    worker = house.start_worker()
    job, _ = request_sync(scope=EVERYTHING)
    db.session.remove()
    wait_until(lambda: not get_job(job_id=job.id).state.is_live)
    job = get_job(job_id=job.id)
    assert job.state is JobState.FAILED
    assert "The database refuses to write (DiskFull). Nothing of this batch was written." in str(job.error)

    kept = rows_of(pipeline)
    # The page that was read then may still have found room in blocks that were begun.
    assert len(kept) in range(3 * SIZE, PAGES * SIZE, SIZE)
    assert worker.process.poll() is None

    house.on_page = lambda number: None
    ballast.unlink()
    press_until_finished()
    assert rows_of(pipeline) == undisturbed_rows(house)
    assert worker.process.poll() is None
