"""``chm demo`` as its users run it: from nothing to a served page, again, stopped and killed."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import requests
import sqlalchemy as sa

from chm_web.config import ROOT
from tests.guides import blocks, run
from tests.http import free_port
from tests.processes import bare_environ

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

READY = re.compile(r"Or sign in at (http://127\.0\.0\.1:\d+/) as  admin")
QUICKSTART = ROOT / "specs" / "001-chm-api-ingestion" / "quickstart.md"
LINK = re.compile(r"http://127\.0\.0\.1:\d+/sign-in/link/\S+")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data directory for all, with a space in its path: the first test starts it from nothing."""
    return tmp_path_factory.mktemp("demo data") / "a demo"


def command(data_dir: Path, *arguments: str) -> list[str]:
    """The command line of a demo."""
    return [sys.executable, "-m", "chm_web.commands", "demo", "--data-dir", str(data_dir), *arguments]


def once(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a demo to its end."""
    return subprocess.run(
        command(data_dir, *arguments), cwd=ROOT, env=bare_environ(), capture_output=True, text=True, check=False
    )


def descendants(pid: int) -> list[int]:
    """The ids of all processes below one."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in descendants(child)]


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that still run."""
    return [pid for pid in pids if Path(f"/proc/{pid}/exe").exists() and "Z" not in state_of(pid)]


def state_of(pid: int) -> str:
    """A process's state as the system tells it, Z when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def wait_until(done: Callable[[], object], seconds: float) -> None:
    """Wait until something is so, and fail when it does not become so."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@dataclass(frozen=True)
class Demo:
    """A demo that serves: its process, its address, and the link by which it lets one in."""

    process: subprocess.Popen[bytes]
    address: str
    link: str


@pytest.fixture
def served(data_dir: Path, tmp_path: Path) -> Iterator[Demo]:
    """A demo that serves."""
    output = tmp_path / "output"
    with output.open("wb") as log:
        demo = subprocess.Popen(
            command(data_dir, "--port", str(free_port())), cwd=ROOT, env=bare_environ(), stdout=log, stderr=log
        )
    try:
        wait_until(lambda: READY.search(output.read_text()) or demo.poll() is not None, 90)
        address = READY.search(output.read_text())
        assert address, output.read_text()
        link = LINK.search(output.read_text())
        assert link, output.read_text()
        yield Demo(demo, address[1], link[0])
    finally:
        if demo.poll() is None:
            # Not killed: the next start would wait until what its worker was doing is known to be nobody's.
            demo.send_signal(signal.SIGINT)
            demo.wait(40)


def test_from_nothing_it_ingests_prints_the_health_and_ends(data_dir: Path) -> None:
    result = once(data_dir, "--once", "--password", "pw")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"Ingestion finished: [45678]\d,\d{3} created, 0 updated, 0 unchanged, 0 rejected", result.stdout)
    assert re.search(r"Health of 60 pipelines: \d+ failing, \d+ late", result.stdout)
    assert re.search(r"failing +\S.* / \S+ since", result.stdout)
    # What it has made is recorded, but not for whoever looks at it.
    assert result.stderr == ""
    assert '"command": "chm demo"' in (data_dir / "logs" / "demo.log").read_text()


def test_a_second_start_takes_in_only_what_is_new(data_dir: Path) -> None:
    result = once(data_dir, "--once")
    assert result.returncode == 0, result.stdout + result.stderr
    created = re.search(r"finished: ([\d,]+) created", result.stdout)
    assert created
    assert int(created[1].replace(",", "")) < 500


def test_its_link_signs_in_once_and_leads_to_the_overview(served: Demo) -> None:
    with requests.Session() as browser:
        assert browser.get(served.address, timeout=10).url.endswith("/sign-in")
        form = {"csrf_token": csrf_token(browser.get(served.link, timeout=10).text)}
        page = browser.post(served.link, data=form, timeout=10)
        assert (page.url, page.status_code, "Failing now" in page.text) == (served.address, 200, True)
    assert requests.get(served.link, timeout=10).status_code == 404


def test_quickstart_does_what_it_says(served: Demo, data_dir: Path, tmp_path: Path) -> None:
    start, *steps = blocks(QUICKSTART, "sh")
    [said_by_the_guide] = blocks(QUICKSTART, "text")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".chm-demo").symlink_to(data_dir)
    script = "".join(steps).replace("http://127.0.0.1:8000", served.address.removesuffix("/"))

    said = run(["bash", "-euo", "pipefail", "-c", script], tmp_path)

    assert start == "make demo\n"
    assert said_by_the_guide in said
    assert "is failing; its latest run is" in said.split(said_by_the_guide)[0]


def test_other_commands_work_on_what_it_runs_with(served: Demo, data_dir: Path, tmp_path: Path) -> None:
    kept = data_dir / "environment"
    script = f"set -a; . {shlex.quote(str(kept))}; {shlex.quote(sys.executable)} -m chm_web.commands doctor"

    said = run(["bash", "-euo", "pipefail", "-c", script], ROOT)

    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert ("PostgreSQL 18" in said, "fail " in said) == (True, False)


def test_it_keeps_no_transaction_open(served: Demo, data_dir: Path) -> None:
    [line] = [line for line in (data_dir / "environment").read_text().splitlines() if "CHM_DATABASE_URL" in line]
    [url] = shlex.split(line.partition("=")[2])
    with psycopg.connect(sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as asking:
        sessions = asking.execute(
            "SELECT application_name, state FROM pg_stat_activity WHERE application_name LIKE 'chm%'"
        ).fetchall()

    assert "chm demo" in {name for name, _ in sessions}
    assert [session for session in sessions if session == ("chm demo", "idle in transaction")] == []


def csrf_token(page: str) -> str:
    """The token that the forms of a page carry."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    return found[1]


def test_ctrl_c_leaves_nothing_running(served: Demo) -> None:
    assert requests.get(served.address + "readyz", timeout=10).status_code == 200
    below = descendants(served.process.pid)
    assert len(below) > 6
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(40) == 0
    wait_until(lambda: not alive(below), 5)


def test_a_killed_launcher_leaves_nothing_running(served: Demo) -> None:
    below = descendants(served.process.pid)
    served.process.kill()
    served.process.wait()
    wait_until(lambda: not alive(below), 40)


def test_after_a_kill_the_next_start_works(data_dir: Path) -> None:
    result = once(data_dir, "--once")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_port_that_is_taken_is_said_at_once(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = once(data_dir, "--port", str(port))
    assert result.returncode == 1
    assert f"Cannot serve on 127.0.0.1, port {port}: Address already in use. Choose another" in result.stderr


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    result = once(tmp_path, "--once")
    assert result.returncode == 1
    assert "holds other things" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_data_directory_in_use_is_said(data_dir: Path, served: Demo) -> None:
    result = once(data_dir, "--once")
    assert result.returncode == 1
    assert f"in use by process {served.process.pid}" in result.stderr
