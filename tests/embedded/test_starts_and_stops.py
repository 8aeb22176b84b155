"""The embedded servers, run for real: what they survive, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from chm_web.embedded import EmbeddedError, Services, embedded_services
from chm_web.embedded.processes import read_pid
from tests.embedded.conftest import cache, read, servers, write

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a parent-death signal")

LAUNCHER = """
import sys, time
from pathlib import Path
from chm_web.embedded import embedded_services, processes
if "orphans" in sys.argv:
    processes._LIBC = None
with embedded_services(Path(sys.argv[1])) as services:
    print(services.database_url, services.redis_url, flush=True)
    time.sleep(120)
"""


def spawn(data_dir: Path, *options: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(data_dir), *options],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def spawned_services(launcher: subprocess.Popen[str]) -> Services:
    assert launcher.stdout
    database_url, redis_url = launcher.stdout.readline().split()
    return Services(database_url=database_url, redis_url=redis_url)


def kill(launcher: subprocess.Popen[str]) -> None:
    launcher.kill()
    launcher.wait()
    assert launcher.stdout
    launcher.stdout.close()


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_a_second_start_keeps_the_data_of_both(data_dir: Path) -> None:
    with embedded_services(data_dir) as services:
        write(services, "yes")
    with embedded_services(data_dir) as services:
        assert read(services) == (("yes",), b"yes")


def test_postgres_stops_when_redis_cannot_start(data_dir: Path) -> None:
    (data_dir / "redis").mkdir(parents=True)
    (data_dir / "redis" / "dump.rdb").write_bytes(b"no dump at all")
    with (
        pytest.raises(EmbeddedError, match=r"(?s)Redis ended at once.*loading the DB"),
        embedded_services(data_dir),
    ):
        pass
    assert servers(data_dir) == []


@needs_linux
def test_kill_9_of_the_launcher_stops_all_and_loses_nothing(data_dir: Path) -> None:
    launcher = spawn(data_dir)
    write(spawned_services(launcher), "yes")
    assert len(servers(data_dir)) >= 2
    old_run_dir = (data_dir / "run").resolve()
    kill(launcher)
    wait_for(lambda: not servers(data_dir))
    with embedded_services(data_dir) as services:
        assert read(services) == (("yes",), b"yes")
        assert not old_run_dir.exists()


@needs_linux
def test_a_kill_during_the_first_start_is_repaired_by_the_next(data_dir: Path) -> None:
    launcher = spawn(data_dir)
    wait_for(lambda: list(data_dir.glob("postgres.new-*/global")))
    kill(launcher)
    assert not (data_dir / "postgres").exists()
    with embedded_services(data_dir) as services:
        write(services, "yes")
        assert read(services) == (("yes",), b"yes")
    assert not list(data_dir.glob("postgres.new-*"))


def test_a_run_link_to_a_directory_that_is_not_ours_leaves_it_alone(data_dir: Path, base: Path) -> None:
    data_dir.mkdir()
    (base / "precious").mkdir()
    (data_dir / "run").symlink_to(base / "precious")
    with embedded_services(data_dir, durable=False):
        assert (data_dir / "run").resolve() != base / "precious"
    assert (base / "precious").is_dir()


@pytest.mark.slow
@needs_linux
def test_a_kill_at_any_moment_of_the_first_start_is_survived(base: Path) -> None:
    for delay in (0.3, 0.5, 0.8, 1.1):
        data_dir = base / f"after {delay}"
        launcher = spawn(data_dir)
        with suppress(subprocess.TimeoutExpired):
            launcher.wait(delay)
        kill(launcher)
        with embedded_services(data_dir, durable=False) as services:
            write(services, "yes")
        assert not list(data_dir.glob("postgres.new-*"))


def test_everything_stops_at_the_end_and_on_an_exception(used_dir: Path) -> None:
    run_dirs = []
    with embedded_services(used_dir, durable=False):
        assert len(servers(used_dir)) >= 2
        run_dirs.append((used_dir / "run").resolve())
    assert servers(used_dir) == []
    with pytest.raises(ZeroDivisionError), embedded_services(used_dir, durable=False):
        run_dirs.append((used_dir / "run").resolve())
        raise ZeroDivisionError
    assert servers(used_dir) == []
    assert not any(path.exists() for path in run_dirs)
    assert not (used_dir / "run").is_symlink()


def test_servers_left_running_are_stopped_by_the_next_start(used_dir: Path) -> None:
    launcher = spawn(used_dir, "orphans")
    write(spawned_services(launcher), "yes")
    orphans = servers(used_dir)
    kill(launcher)
    assert set(orphans) <= set(servers(used_dir))
    with embedded_services(used_dir) as services:
        assert not set(orphans) & set(servers(used_dir))
        assert read(services) == (("yes",), b"yes")


def test_kill_9_of_postgres_is_recovered_from(used_dir: Path) -> None:
    with embedded_services(used_dir) as services:
        write(services, "yes")
        pid = read_pid(used_dir / "postgres" / "postmaster.pid")
        assert pid
        os.kill(pid, signal.SIGKILL)
    with embedded_services(used_dir) as services:
        assert read(services) == (("yes",), b"yes")


def test_a_stale_pid_file_does_not_stop_the_start_nor_harm_a_stranger(used_dir: Path) -> None:
    content = f"{used_dir / 'postgres'}\n{int(time.time())}\n5432\n\n\n\nready\n"
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        ended = subprocess.Popen(["/bin/true"])
        ended.wait()
        for pid in (ended.pid, stranger.pid):
            (used_dir / "postgres" / "postmaster.pid").write_text(f"{pid}\n{content}")
            (used_dir / "redis" / "redis.pid").write_text(f"{pid}\n")
            with embedded_services(used_dir, durable=False) as services, cache(services) as store:
                assert store.ping()
        assert stranger.poll() is None
        stranger.kill()


def test_a_wrong_password_file_is_named(used_dir: Path) -> None:
    (used_dir / "secrets").write_text("wrong\n")
    with pytest.raises(EmbeddedError, match=r"refuses CHM.*remove .*secrets"), embedded_services(used_dir):
        pass
    assert servers(used_dir) == []


def test_a_cluster_of_another_version_is_refused(used_dir: Path) -> None:
    (used_dir / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 17"), embedded_services(used_dir):
        pass


def test_one_of_the_two_may_be_left_out(used_dir: Path) -> None:
    with embedded_services(used_dir, durable=False, postgres=False) as services, cache(services) as store:
        assert services.database_url == ""
        assert store.ping()
    with embedded_services(used_dir, durable=False, redis=False) as services:
        assert services.redis_url == ""
        assert psycopg.connect(services.database_url).execute("SELECT 1").fetchone() == (1,)


def test_a_lost_password_is_replaced(used_dir: Path) -> None:
    old = (used_dir / "secrets").read_text().strip()
    (used_dir / "secrets").unlink()
    with (
        embedded_services(used_dir, durable=False) as services,
        psycopg.connect(services.database_url) as connection,
    ):
        assert old not in services.database_url
        assert connection.execute("SELECT value FROM kept").fetchone() == ("template",)


@needs_linux
def test_a_busy_session_does_not_outlive_a_killed_postgres(used_dir: Path) -> None:
    with embedded_services(used_dir) as services:
        connection = psycopg.connect(services.database_url, autocommit=True)
        connection.pgconn.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")
        pid = read_pid(used_dir / "postgres" / "postmaster.pid")
        assert pid
        os.kill(pid, signal.SIGKILL)
    connection.close()
    assert servers(used_dir) == []
