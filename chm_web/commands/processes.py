"""The processes that ``chm demo`` runs beside itself: they log to files, and end with it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from chm_web.embedded.processes import die_with_launcher

STOP_SECONDS = 8.0
_LAST_LINES = 15


class ProcessError(Exception):
    """A process did not start, or ended by itself. The message holds the end of its log."""


class Child:
    """A process of ours and its log."""

    def __init__(self, name: str, command: Sequence[str], *, environ: Mapping[str, str], log: Path, cwd: Path) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                cwd=cwd,
                # Ctrl-C on the terminal reaches the launcher alone, which then stops everything in order.
                start_new_session=True,
                preexec_fn=die_with_launcher(signal.SIGTERM),  # noqa: PLW1509 - the launcher has one thread here
            )

    def check(self) -> None:
        """Raise ProcessError if the process has ended."""
        status = self._process.poll()
        if status is not None:
            raise ProcessError(f"The {self.name} ended unexpectedly (status {status}).\n{self._tail()}")

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until ``ready()``; ProcessError if the process ends or the time is up."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ProcessError(f"The {self.name} was not ready within {seconds:.0f} s.\n{self._tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the process: asked first, asked again, then forced."""
        for step, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
            if self._process.poll() is not None:
                return
            self._process.send_signal(step)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)

    def _tail(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join([*lines[-_LAST_LINES:], f"(The whole log is {self._log}.)"])
