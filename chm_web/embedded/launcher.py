"""The order of things: lock the data directory, repair what a crash left, start both servers, stop both."""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chm_web.embedded import postgres_server, redis_server
from chm_web.embedded.accounts import (
    can_enter,
    cluster_path,
    postgres_binaries,
    service_account,
    sweep_clusters,
)
from chm_web.embedded.errors import EmbeddedError, os_failure
from chm_web.embedded.processes import Account, remove_tree

_RUN_PREFIX = "chm-"
# A socket's path holds about 100 bytes on some systems; ours adds about 40 to the directory's.
_LONGEST_TEMP_DIR = 60


@dataclass(frozen=True)
class Services:
    """Where the embedded servers answer; valid while the launcher runs."""

    database_url: str = field(repr=False)
    redis_url: str


@contextmanager
def embedded_services(
    data_dir: Path, *, durable: bool = True, postgres: bool = True, redis: bool = True
) -> Iterator[Services]:
    """Run PostgreSQL and Redis on `data_dir` for the length of the block, and give their URLs.

    With `durable=False` a power cut may lose the data and Redis keeps none: for tests. With `postgres` or
    `redis` False that one is not run and its URL is empty. The directory is made if need be; a second launcher
    on it is refused. Call it in a thread that lives as long as the block: on Linux the servers stop when that
    thread ends. Raises EmbeddedError if they cannot start; nothing is left running then.
    """
    with ExitStack() as stack:
        yield _start(stack, Path(data_dir), durable=durable, postgres=postgres, redis=redis)


def _start(stack: ExitStack, data_dir: Path, *, durable: bool, postgres: bool, redis: bool) -> Services:
    data_dir = data_dir.resolve()
    try:
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        stack.enter_context(_lock(data_dir))
        for name in ("redis", "logs"):
            (data_dir / name).mkdir(mode=0o700, exist_ok=True)
        account = service_account()
        cluster = cluster_path(data_dir, account, durable=durable) if postgres else None
        sweep_clusters()
        _clear_leftovers(data_dir, cluster, account)
        run_dir = stack.enter_context(_run_dir(data_dir, account))
        redis_url = _start_redis(stack, data_dir, run_dir, durable=durable) if redis else ""
        database_url = ""
        if cluster:
            database_url = _start_postgres(stack, data_dir, cluster, account, run_dir, durable=durable)
    except OSError as error:
        raise os_failure(error, data_dir) from error
    except subprocess.SubprocessError as error:
        raise EmbeddedError(f"The embedded servers cannot run as children of this process: {error}.") from error
    return Services(database_url=database_url, redis_url=redis_url)


def _clear_leftovers(data_dir: Path, cluster: Path | None, account: Account) -> None:
    """Stop and remove what an earlier run left behind that was killed."""
    run_dir = _old_run_dir(data_dir, account)
    if cluster:
        postgres_server.stop_leftovers(cluster)
    redis_server.stop_leftovers(data_dir / "redis", run_dir)
    if run_dir:
        remove_tree(run_dir)


def _start_redis(stack: ExitStack, data_dir: Path, run_dir: Path, *, durable: bool) -> str:
    ours = Account(uid=os.geteuid(), gid=os.getegid())
    log = data_dir / "logs" / "redis.log"
    server = redis_server.start(data_dir / "redis", ours, run_dir=run_dir, log=log, durable=durable)
    stack.callback(server.stop, redis_server.STOP_STEPS)
    redis_server.wait_until_ready(server, run_dir)
    return redis_server.url(run_dir)


def _start_postgres(
    stack: ExitStack, data_dir: Path, cluster: Path, account: Account, run_dir: Path, *, durable: bool
) -> str:
    binaries = postgres_binaries(account)
    secret, log = data_dir / "secrets", data_dir / "logs" / "postgres.log"
    password = postgres_server.prepare(cluster, binaries, account, secret=secret, durable=durable)
    # A busy session may outlive a PostgreSQL that was killed.
    stack.callback(postgres_server.stop_leftovers, cluster)
    server = postgres_server.start(cluster, binaries, account, run_dir=run_dir, log=log, durable=durable)
    stack.callback(server.stop, postgres_server.STOP_STEPS)
    url = postgres_server.url(run_dir, password)
    postgres_server.wait_until_ready(server, url, secret=secret)
    return url


@contextmanager
def _lock(data_dir: Path) -> Iterator[None]:
    descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise EmbeddedError(
                f"{data_dir} is in use by process {holder}: stop that one, or choose another data directory."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # Closing is not enough where the application forked: its children share the lock.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


@contextmanager
def _run_dir(data_dir: Path, account: Account) -> Iterator[Path]:
    """Make the sockets' directory, to which `data_dir`/run points: that path itself may be too long."""
    run_dir = Path(tempfile.mkdtemp(prefix=_RUN_PREFIX, dir=_temp_dir(account)))
    link = data_dir / "run"
    try:
        for name in ("postgres", "redis"):
            (run_dir / name).mkdir(mode=0o700)
        if account.switches:
            # The service user has to pass through; others still cannot.
            os.chown(run_dir, -1, account.gid)
            run_dir.chmod(0o710)
            os.chown(run_dir / "postgres", account.uid, account.gid)
        link.unlink(missing_ok=True)
        link.symlink_to(run_dir)
        yield run_dir
    finally:
        remove_tree(run_dir)
        link.unlink(missing_ok=True)


def _temp_dir(account: Account) -> Path:
    for candidate in (Path(tempfile.gettempdir()).resolve(), Path("/tmp")):  # noqa: S108
        if len(os.fsencode(candidate)) <= _LONGEST_TEMP_DIR and can_enter(account, candidate):
            return candidate
    raise EmbeddedError("There is no temporary directory for the servers' sockets: set TMPDIR to a short path.")


def _old_run_dir(data_dir: Path, account: Account) -> Path | None:
    """Return the sockets' directory an earlier run left behind, None unless it is certainly one of ours."""
    link = data_dir / "run"
    if not link.is_symlink():
        return None
    target = link.readlink()
    if not target.name.startswith(_RUN_PREFIX) or target.is_symlink() or not target.is_dir():
        return None
    return target if target.stat().st_uid in (os.geteuid(), account.uid) else None
