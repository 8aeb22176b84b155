"""The parts of the whole stack for the soak: each can be stopped or killed and started again, at the same address."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import requests
from sqlalchemy.engine import make_url

from benchmarks.http_load import THREADS, WORKERS
from benchmarks.processes import Process
from chm_web.config import ROOT
from chm_web.embedded import embedded_services
from chm_web.embedded.processes import read_pid

START_SECONDS = 120.0


class Part(Protocol):
    """What is restarted."""

    name: str

    @property
    def pid(self) -> int | None:
        """Its first process."""

    def start(self) -> None:
        """Start it and return once it does its work."""

    def stop(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it as a crash would."""


@dataclass
class Program:
    """A process of CHM's. ``is_ready``: it does its work."""

    name: str
    arguments: list[str]
    environ: Mapping[str, str]
    directory: Path
    is_ready: Callable[[], bool] = lambda: True
    _process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Its first process."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it and return once it does its work."""
        log = self.directory / "logs" / f"{self.name}.log"
        self._process = Process(self.name, [sys.executable, *self.arguments], environ=self.environ, log=log, cwd=ROOT)
        self._process.wait_until(self.is_ready, seconds=START_SECONDS)

    def stop(self) -> None:
        """Ask it to end."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it and the processes of its group; what it has put elsewhere ends with it by itself."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.stop()


@dataclass
class EmbeddedServer:
    """PostgreSQL or Redis, reached by a path that stays."""

    name: str
    directory: Path
    url: str = field(default="", repr=False)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def _is_postgres(self) -> bool:
        return self.name == "PostgreSQL"

    @property
    def pid(self) -> int | None:
        """Its first process."""
        return read_pid(self.directory / ("postgres/postmaster.pid" if self._is_postgres else "redis/redis.pid"))

    def start(self) -> None:
        """Start it on what it kept."""
        services = self._stack.enter_context(
            embedded_services(self.directory, postgres=self._is_postgres, redis=not self._is_postgres)
        )
        sockets = self.directory / "run" / ("postgres" if self._is_postgres else "redis/redis.sock")
        if self._is_postgres:
            url = make_url(services.database_url).update_query_dict({"host": str(sockets)})
            self.url = url.render_as_string(hide_password=False)
        else:
            self.url = f"unix://{quote(str(sockets))}?db=0"

    def stop(self) -> None:
        """Ask it to end."""
        self._stack.close()

    def kill(self) -> None:
        """Kill it, and put away what it left behind."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._stack.close()


def web_server(environ: Mapping[str, str], directory: Path) -> tuple[Program, int]:
    """Give the web app as gunicorn serves it, and its port, which stays."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    arguments = ["-m", "gunicorn", "wsgi:app", "--bind", f"127.0.0.1:{port}"]
    arguments += ["--workers", str(WORKERS), "--threads", str(THREADS)]

    def answers() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=2).ok
        except requests.RequestException:
            return False

    return Program("web", arguments, environ, directory, answers), port
