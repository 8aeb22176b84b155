"""``chm demo``: the whole of CHM on one machine, with nothing in it fake but the partner's data."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click
import flask_migrate
from rich.console import Console
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from chm_web import assets, create_core, logs
from chm_web.access.permissions import Role
from chm_web.access.sign_in import FIRST_ADMIN
from chm_web.access.users import UserFile
from chm_web.commands.actor import command_line_actor
from chm_web.commands.explained import first_line
from chm_web.commands.processes import Child, ProcessError
from chm_web.commands.progress import follow_job, print_health, print_outcome
from chm_web.config import LOOPBACK_HOSTS, ROOT, Config, ConfigError
from chm_web.demo import fleet
from chm_web.embedded import EmbeddedError, embedded_services
from chm_web.ingestion.progress import IngestionJob, JobState, SyncScope
from chm_web.ingestion.queue import count_live_workers, request_sync
from chm_web.models import Environment, PipelineType, Platform
from chm_web.private_files import write_private
from chm_web.services.clients import create_client, list_clients
from chm_web.services.exceptions import ServiceError
from chm_web.services.pipeline_lists import list_client_pipelines
from chm_web.services.pipelines import create_pipeline

DEFAULT_PORT = 8000
PORTS_TO_TRY = 20
INGEST_EVERY_SECONDS = 60
START_SECONDS = 60.0
ENVIRONMENT = "environment"
"""The file in the data directory that has what the demo runs with, for other commands."""


class _Stopped(BaseException):
    """SIGTERM or SIGINT came."""


@dataclass(frozen=True)
class _Demo:
    """Where one demo lives, and what its processes run with."""

    data_dir: Path
    environ: dict[str, str]

    def start(self, name: str, *arguments: str) -> Child:
        """Start ``python -m ARGUMENTS`` as a process of this demo."""
        log = self.data_dir / "logs" / f"{name}.log"
        return Child(name, [sys.executable, "-m", *arguments], environ=self.environ, log=log, cwd=ROOT)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help=f"Port to serve on (default: {DEFAULT_PORT} or the next free)."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".chm-demo"),
    show_default=True,
    help="Where the demo keeps everything.",
)
@click.option("--password", help="Password to sign in with as admin (default: one is made at the first start).")
@click.option("--once", is_flag=True, help="Ingest, print a health summary, and end.")
def demo(host: str, port: int | None, data_dir: Path, password: str | None, once: bool) -> None:
    """Run CHM on embedded PostgreSQL and Redis, with a partner's API to ingest from.

    With CHM_DATABASE_URL or CHM_REDIS_URL set, those servers are used instead.
    """
    console = Console()
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, _on_stop)
    try:
        missing = assets.missing()
        if missing and not once:
            raise ProcessError(f"Web assets are not installed ({missing[0]} is missing). Run: make install")
        with ExitStack() as stack:
            _run(stack, console, host=host, port=port, data_dir=data_dir.resolve(), password=password, once=once)
    except _Stopped:
        console.print("\nStopped. The data stays; the next start takes in only what is new.")
    except (ProcessError, EmbeddedError, ConfigError, ServiceError) as err:
        raise click.ClickException(str(err)) from err
    except OSError as err:
        raise click.ClickException(f"{err.strerror}: {err.filename or data_dir}. Mend that and start again.") from err
    except SQLAlchemyError as err:
        raise click.ClickException(f"The database failed: {first_line(err)}") from err


def _on_stop(signum: int, frame: FrameType | None) -> None:
    # Once is enough: a second Ctrl-C must not break the stopping off half-way.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.SIG_IGN)
    raise _Stopped


def _run(
    stack: ExitStack, console: Console, *, host: str, port: int | None, data_dir: Path, password: str | None, once: bool
) -> None:
    # Before anything is started: a port that is taken shall not cost half a minute.
    port = port if once else _choose_port(host, port)
    _check_data_dir(data_dir)
    started = time.monotonic()
    with console.status("Starting PostgreSQL and Redis ..."):
        environ = _services(stack, data_dir)
    logs.record_changes_in(data_dir / "logs" / "demo.log")
    environ |= {
        "CHM_SECRET_KEY": _kept_secret(data_dir / "secret_key"),
        "CHM_USERS_FILE": str(data_dir / "users.json"),
        "CHM_TOKENS_FILE": str(data_dir / "tokens.json"),
        "CHM_PARTNER_API_TOKEN": secrets.token_urlsafe(32),
        "CHM_PARTNER_API_PLATFORMS": ",".join(Platform),
        "CHM_INGEST_EVERY_SECONDS": str(INGEST_EVERY_SECONDS),
        "CHM_ALLOWED_HOSTS": os.environ.get("CHM_ALLOWED_HOSTS") or ",".join((*LOOPBACK_HOSTS, _in_url(host))),
    }
    demo = _Demo(data_dir, environ)
    with console.status("Starting the partner ..."):
        environ["CHM_PARTNER_API_BASE_URL"] = _start_partner(stack, demo)
    write_private(data_dir / ENVIRONMENT, _as_shell(environ))
    app = create_core(Config.from_env(environ), session_name="chm demo")
    with app.app_context():
        with console.status("Preparing the database and the inventory ..."):
            flask_migrate.upgrade()
            _create_inventory()
        worker = _start(stack, demo, "worker", "chm_web.commands", "worker")
        worker.wait_until(lambda: count_live_workers() > 0, seconds=START_SECONDS)
        job = _ingest(console)
        if once:
            print_outcome(job, console)
            print_health(console)
            if job.state is not JobState.FINISHED:
                raise ProcessError("The ingestion did not finish.")
            return
        assert port is not None  # noqa: S101 - chosen above
        link, known_password = _prepare_admin(environ, password)
        web = _start_web(stack, demo, host, port)
        print_outcome(job, console)
        print_health(console)
        console.print(f"\nReady after {time.monotonic() - started:.0f} s. Everything it keeps is in {data_dir}")
        _print_sign_in(console, f"http://{_in_url(host)}:{port}", link, known_password, data_dir)
        children = [worker, web, _start(stack, demo, "schedule", "chm_web.commands", "schedule")]
    # Outside of the app's context: a transaction that stays open would keep PostgreSQL from cleaning up.
    _watch(children)


def _prepare_admin(environ: Mapping[str, str], password: str | None) -> tuple[str, str | None]:
    """Give the secret of a link to sign in with once, and the admin's password if it is known."""
    # A demo on one's own machine may have a password as short as one likes.
    users = UserFile(Path(environ["CHM_USERS_FILE"]), min_password_length=1)
    if users.find(FIRST_ADMIN) is None:
        password = password or secrets.token_urlsafe(9)
        users.add(name=FIRST_ADMIN, role=Role.ADMIN, password=password, by=command_line_actor())
    elif password and not users.check_password(name=FIRST_ADMIN, password=password):
        users.set_password(name=FIRST_ADMIN, password=password, by=command_line_actor())
    return users.make_link(name=FIRST_ADMIN, by=command_line_actor()), password


def _as_shell(environ: Mapping[str, str]) -> str:
    """Give CHM's variables as a shell reads them, for the other commands."""
    ours = sorted(name for name in environ if name.startswith("CHM_"))
    return "".join(f"{name}={shlex.quote(environ[name])}\n" for name in ours)


def _print_sign_in(console: Console, address: str, link: str, password: str | None, data_dir: Path) -> None:
    """Say where the app is and how to sign in, so that nobody can miss it, and how other commands reach the demo."""
    first = "the password of its first start, or another with --password"
    known = f"the password  [bold]{escape(password)}[/bold]" if password else first
    chm = shlex.quote(str(Path(sys.executable).with_name("chm")))
    for line in (
        "",
        "  Open this link to be signed in; it works once:",
        f"  [bold]{address}/sign-in/link/{link}[/bold]",
        "",
        f"  Or sign in at {address}/ as  [bold]{FIRST_ADMIN}[/bold]  with {known}",
        "",
        "CHM's other commands need what the demo runs with, in another terminal:",
        f"  set -a; . {escape(shlex.quote(str(data_dir / ENVIRONMENT)))}; set +a",
        f"  {escape(chm)} tokens create NAME --scope write    (a token for the REST API)",
        "Ctrl-C stops everything.",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def _check_data_dir(data_dir: Path) -> None:
    """Refuse a directory that holds something else than a demo's data."""
    if data_dir.exists() and any(data_dir.iterdir()) and not (data_dir / "lock").exists():
        raise ProcessError(f"{data_dir} holds other things. Choose an empty or a new directory with --data-dir.")


def _services(stack: ExitStack, data_dir: Path) -> dict[str, str]:
    """Start the embedded servers that no variable names, and give the environment for the app's processes."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CHM_")}
    # What the demo does not settle itself may be set from outside.
    environ |= {name: os.environ[name] for name in os.environ if name.startswith("CHM_HTTP_")}
    database_url, redis_url = os.environ.get("CHM_DATABASE_URL"), os.environ.get("CHM_REDIS_URL")
    services = stack.enter_context(embedded_services(data_dir, postgres=not database_url, redis=not redis_url))
    return environ | {
        "CHM_DATABASE_URL": database_url or services.database_url,
        "CHM_REDIS_URL": redis_url or services.redis_url,
    }


def _kept_secret(path: Path) -> str:
    """Give the secret kept in ``path``, made at the first start: sessions survive a restart."""
    if not path.exists():
        # A start that is killed here must not leave an empty secret to the next one.
        write_private(path, secrets.token_urlsafe(48))
    return path.read_text(encoding="ascii")


def _start(stack: ExitStack, demo: _Demo, name: str, *arguments: str) -> Child:
    child = demo.start(name, *arguments)
    stack.callback(child.stop)
    return child


def _start_partner(stack: ExitStack, demo: _Demo) -> str:
    """Start the partner and give its base URL."""
    port_file = demo.data_dir / "partner.port"
    port_file.unlink(missing_ok=True)
    arguments = ("--port", "0", "--token-env", "CHM_PARTNER_API_TOKEN", "--port-file", str(port_file))
    partner = _start(stack, demo, "partner", "chm_web.demo.partner", *arguments)
    partner.wait_until(port_file.exists, seconds=START_SECONDS)
    return f"http://127.0.0.1:{port_file.read_text().strip()}"


def _create_inventory() -> None:
    """Create the demo's clients and pipelines, those that are not there yet."""
    by = command_line_actor()
    clients = {client.name: client for client in list_clients(limit=1000).items}
    for wanted in fleet.CLIENTS:
        client = clients.get(wanted.name) or create_client(name=wanted.name, updated_by=by)
        known = list_client_pipelines(client_id=client.id, now=datetime.now(UTC), limit=1000)
        names = {listed.pipeline.name for listed in known.items}
        for pipeline in wanted.pipelines:
            if pipeline.name not in names:
                create_pipeline(
                    client_id=client.id,
                    name=pipeline.name,
                    platform=Platform(pipeline.platform),
                    pipeline_type=PipelineType(pipeline.pipeline_type),
                    external_id=pipeline.external_id,
                    description=pipeline.description,
                    environment=Environment(pipeline.environment),
                    expected_every_minutes=pipeline.expected_every_minutes,
                    updated_by=by,
                )


def _ingest(console: Console) -> IngestionJob:
    job, _ = request_sync(scope=SyncScope(), requested_by=command_line_actor())
    return follow_job(job, console)


def _start_web(stack: ExitStack, demo: _Demo, host: str, port: int) -> Child:
    bind = f"{_in_url(host)}:{port}"
    web = _start(stack, demo, "web", "gunicorn", "wsgi:app", "--bind", bind)
    reached = _in_url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host))  # noqa: S104 - only compared
    with PoolManager(timeout=5.0, retries=False) as http:

        def ready() -> bool:
            try:
                return http.request("GET", f"http://{reached}:{port}/readyz").status == 200
            except HTTPError:
                return False

        web.wait_until(ready, seconds=START_SECONDS)
    return web


def _watch(children: list[Child]) -> None:
    """Wait until the demo is stopped, or a process of it ends."""
    while True:
        time.sleep(0.5)
        for child in children:
            child.check()


def _choose_port(host: str, port: int | None) -> int:
    """Give the wanted port, or the first free one from the default on.

    Raises:
        ProcessError: the wanted port is taken, or none is free.
    """
    for candidate in [port] if port else range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TO_TRY):
        with _listener(host) as listener:
            try:
                listener.bind((host, candidate))
            except PermissionError:
                raise ProcessError(
                    f"Port {candidate} needs more rights than you have. Choose another with --port."
                ) from None
            except OSError as err:
                reason = err.strerror
            else:
                return candidate
    where = f"port {port}" if port else f"ports {DEFAULT_PORT} to {DEFAULT_PORT + PORTS_TO_TRY - 1}"
    raise ProcessError(f"Cannot serve on {host}, {where}: {reason}. Choose another with --port.")


@contextmanager
def _listener(host: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        # As gunicorn binds it: a port in TIME_WAIT is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield listener


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
