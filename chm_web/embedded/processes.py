"""Child processes: they end with the launcher, are found again after a crash, and are stopped for certain."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chm_web.embedded.errors import EmbeddedError, failure

Steps = Sequence[tuple[signal.Signals, float]]
"""Signals from gentle to hard, each with the seconds to wait before the next."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "cmdline").exists()
_POLL_SECONDS = 0.02
_KEPT_LOG_BYTES = 5 * 1024 * 1024
_SHOWN_LOG_BYTES = 16 * 1024


@dataclass(frozen=True)
class Account:
    """The user and group a child runs as; `switches` is False when that is the launcher's own."""

    uid: int
    gid: int
    switches: bool = False


@dataclass(frozen=True)
class Server:
    """A running server, the log it writes and where in that log this run of it begins."""

    name: str
    process: subprocess.Popen[bytes]
    directory: Path
    log: Path
    log_start: int

    def wait_until(self, answers: Callable[[], bool], *, timeout: float) -> None:
        """Return once `answers()` is true; EmbeddedError if the server ends or `timeout` seconds pass."""
        deadline = time.monotonic() + timeout
        while not answers():
            status = self.process.poll()
            if status is not None:
                raise failure(f"{self.name} ended at once, with status {status}", self._output(), self.directory)
            if time.monotonic() > deadline:
                what = f"{self.name} did not answer within {timeout:.0f} seconds (its log is {self.log})"
                raise failure(what, self._output(), self.directory)
            time.sleep(_POLL_SECONDS)

    def stop(self, steps: Steps) -> None:
        """Stop the server by `steps`; it is gone when this returns or raises."""
        try:
            for step, patience in steps:
                self.process.send_signal(step)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(patience)
                    return
        finally:
            # Reached with a live process also when a second Ctrl-C interrupts the waiting.
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def _output(self) -> str:
        with self.log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self.log_start, end - _SHOWN_LOG_BYTES))
            return log.read().decode(errors="replace")


def start_server(
    name: str,
    command: Sequence[str | Path],
    *,
    account: Account,
    directory: Path,
    log: Path,
    death_signal: signal.Signals,
) -> Server:
    """Start `command` in `directory` as `account`, its output appended to `log`, and return it at once.

    On Linux the server gets `death_signal` when the thread that calls this ends, even by kill -9.
    """
    if log.exists() and log.stat().st_size > _KEPT_LOG_BYTES:
        log.replace(log.with_suffix(".log.old"))
    with log.open("ab") as output:
        log_start = output.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=_environment(),
            umask=0o077,
            user=account.uid if account.switches else None,
            group=account.gid if account.switches else None,
            extra_groups=[] if account.switches else None,
            # Ctrl-C in the terminal must reach the application's processes first, and the servers last.
            start_new_session=True,
            preexec_fn=die_with_launcher(death_signal),  # noqa: PLW1509
        )
    return Server(name=name, process=process, directory=directory, log=log, log_start=log_start)


def run(command: Sequence[str | Path], *, account: Account, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `command` to its end as `account`; the result's `stdout` holds all it printed."""
    return subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        env=_environment(),
        umask=0o077,
        user=account.uid if account.switches else None,
        group=account.gid if account.switches else None,
        extra_groups=[] if account.switches else None,
        start_new_session=True,
        preexec_fn=die_with_launcher(signal.SIGTERM),
    )


def find_servers(program: str, directory: Path, *, pid: int | None, marker: str) -> list[int]:
    """Return the ids of the live processes of `program` that work in `directory`.

    On Linux all processes are looked at, elsewhere only `pid`. Where a process's working directory may not be
    read, `marker` in its command line decides.
    """
    if _HAS_PROC:
        candidates = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    else:
        candidates = [pid] if pid else []
    return [candidate for candidate in candidates if _is_server(candidate, program, directory, marker)]


def stop_found(find: Callable[[], list[int]], *, leader: int | None, steps: Steps) -> None:
    """Stop the processes `find()` gives, which are not our children, and return when there are none.

    Only `leader` is signalled while it is among them: a server ends its own helpers in the right order.
    Raises EmbeddedError if some survive every step.
    """
    for step, patience in steps:
        found = find()
        for pid in [leader] if leader in found else found:
            with suppress(ProcessLookupError):
                os.kill(pid, step)
        deadline = time.monotonic() + patience
        while found and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            found = find()
        if not found:
            return
    if found := find():
        raise EmbeddedError(f"A server of an earlier run cannot be stopped: end process {found[0]} by hand.")


def read_pid(pid_file: Path) -> int | None:
    """Return the process id on the first line of `pid_file`, None if there is none."""
    try:
        return int(pid_file.read_text().partition("\n")[0])
    except (FileNotFoundError, ValueError):
        return None


def remove_tree(directory: Path) -> None:
    """Remove `directory`, even while a dying process still writes into it."""
    for _ in range(50):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.1)
    # What is left does no harm, and the next start tries again.


def die_with_launcher(death_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what a child does before its program starts, so that it does not outlive the launcher.

    It has to run after the child changed its user, which clears the setting; Popen keeps that order. It only
    makes two system calls, so no lock that another thread holds at the fork can block it.
    """
    libc, launcher = _LIBC, os.getpid()
    if libc is None:
        return None

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        # The launcher may have died before the line above.
        if os.getppid() != launcher:
            os._exit(1)

    return prepare


def _environment() -> dict[str, str]:
    """Return the children's environment: none of ours, which may hold secrets or settings such as PGPORT."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _is_server(pid: int, program: str, directory: Path, marker: str) -> bool:
    try:
        # The name ends in " (deleted)" once the package was upgraded under a running server.
        name = (_PROC / str(pid) / "exe").readlink().name.partition(" ")[0]
        return name == program and (_PROC / str(pid) / "cwd").samefile(directory)
    except OSError:
        # Not Linux, or root in a container that may not look into other users' processes.
        name, command = _command(pid)
        return name == program and marker in command


def _command(pid: int) -> tuple[str, str]:
    """Return a process's program name and its command line, both empty if it is gone."""
    if _HAS_PROC:
        try:
            words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return "", ""
        return Path(words[0]).name, " ".join(words)
    fields = [
        subprocess.run(
            ["/bin/ps", "-ww", "-o", f"{field}=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
        for field in ("comm", "command")
    ]
    return Path(fields[0]).name, fields[1]
