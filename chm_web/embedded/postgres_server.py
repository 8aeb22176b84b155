"""PostgreSQL: the cluster is built aside and renamed into place, then served on a unix socket only."""

import os
import secrets
import signal
import tempfile
from pathlib import Path
from urllib.parse import quote

import psycopg

from chm_web.embedded.errors import EmbeddedError, failure
from chm_web.embedded.processes import (
    Account,
    Server,
    Steps,
    find_servers,
    read_pid,
    remove_tree,
    run,
    start_server,
    stop_found,
)
from chm_web.private_files import write_private

# SIGINT ends the sessions and writes all data; SIGQUIT leaves the rest to recovery at the next start.
STOP_STEPS: Steps = ((signal.SIGINT, 30), (signal.SIGQUIT, 10))
_START_TIMEOUT = 120.0
_NAME = "chm"
_BUILD_PREFIX = "postgres.new-"
# The superuser has no password and so cannot sign in; CHM's own role needs one.
_HBA = "local all all scram-sha-256\n"
_STARTING_TEXTS = ("starting up", "not yet accepting connections", "recovery mode")

_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_THROWAWAY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def stop_leftovers(cluster: Path) -> None:
    """Stop what an earlier run left running on `cluster`; remove stale pid files and half-built clusters."""
    for directory in (cluster, *cluster.parent.glob(f"{_BUILD_PREFIX}*")):
        _stop_processes(directory)
        if directory != cluster:
            remove_tree(directory)


def prepare(cluster: Path, binaries: Path, account: Account, *, secret: Path, durable: bool) -> str:
    """Return the password of CHM's role, kept in the file `secret`; build the cluster if there is none yet.

    A kill at any moment leaves either no cluster or a whole one. A removed secret is replaced by a new one.
    """
    password = secret.read_text().strip() if secret.exists() else ""
    if cluster.exists():
        _check(cluster, binaries, account)
        if not password:
            password = secrets.token_urlsafe(24)
            sql = f"ALTER ROLE {_NAME} PASSWORD '{password}'\n"
            _run_sql(sql, cluster, binaries, account)
            write_private(secret, f"{password}\n")
        return password
    if not password:
        password = secrets.token_urlsafe(24)
        write_private(secret, f"{password}\n")
    _build(cluster, binaries, account, password=password, durable=durable)
    return password


def start(cluster: Path, binaries: Path, account: Account, *, run_dir: Path, log: Path, durable: bool) -> Server:
    """Start PostgreSQL on `cluster` with its socket in `run_dir`/postgres, and return it without waiting."""
    hba = run_dir / "pg_hba.conf"
    hba.write_text(_HBA)
    if account.switches:
        os.chown(hba, -1, account.gid)
    hba.chmod(0o640)
    sockets = str(run_dir / "postgres").replace('"', '""')
    settings = _SETTINGS | {"hba_file": str(hba), "unix_socket_directories": f'"{sockets}"'}
    if not durable:
        settings |= _THROWAWAY_SETTINGS
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return start_server(
        "PostgreSQL",
        [binaries / "postgres", "-D", cluster, *options],
        account=account,
        directory=cluster,
        log=log,
        death_signal=STOP_STEPS[0][0],
    )


def url(run_dir: Path, password: str) -> str:
    """Return the URL of CHM's database, as libpq and SQLAlchemy read it."""
    # The port is named since the PGPORT of somebody's shell would otherwise count.
    return f"postgresql://{_NAME}:{password}@/{_NAME}?host={quote(str(run_dir / 'postgres'), safe='')}&port=5432"


def wait_until_ready(server: Server, database_url: str, *, secret: Path) -> None:
    """Return once a query is answered; EmbeddedError if the server ends, refuses us or takes too long."""

    def answers() -> bool:
        try:
            with psycopg.connect(database_url, connect_timeout=5) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError as error:
            if "FATAL" in str(error) and not any(text in str(error) for text in _STARTING_TEXTS):
                raise EmbeddedError(
                    f"PostgreSQL runs but refuses CHM: {error}. If the password is wrong, remove {secret}:"
                    " the next start makes a new one."
                ) from error
            return False

    server.wait_until(answers, timeout=_START_TIMEOUT)


def _stop_processes(cluster: Path) -> None:
    pid_file = cluster / "postmaster.pid"
    leader = read_pid(pid_file)

    def find() -> list[int]:
        return find_servers("postgres", cluster, pid=leader, marker=str(cluster))

    found = find()
    if found:
        # Helpers whose server is gone must not be asked gently: to one of them SIGINT means "checkpoint now".
        steps = STOP_STEPS if leader in found else STOP_STEPS[1:]
        stop_found(find, leader=leader, steps=(*steps, (signal.SIGKILL, 5)))
    # PostgreSQL would refuse to start if another program had been given the dead server's process id.
    pid_file.unlink(missing_ok=True)


def _build(cluster: Path, binaries: Path, account: Account, *, password: str, durable: bool) -> None:
    aside = Path(tempfile.mkdtemp(prefix=_BUILD_PREFIX, dir=cluster.parent))
    try:
        if account.switches:
            os.chown(aside, account.uid, account.gid)
        # The built-in locale knows upper and lower case beyond ASCII on every system, whatever is installed.
        command: list[str | Path] = [
            binaries / "initdb",
            "-D",
            aside,
            "--username=postgres",
            "--encoding=UTF8",
        ]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        command += ["--auth=reject", "--no-instructions"]
        if not durable:
            command.append("--no-sync")
        made = run(command, account=account)
        if made.returncode != 0:
            raise failure("PostgreSQL's initdb could not make the database", made.stdout, cluster.parent)
        role = f"CREATE ROLE {_NAME} LOGIN CREATEDB CREATEROLE PASSWORD '{password}'\n"
        _run_sql(f"{role}CREATE DATABASE {_NAME} OWNER {_NAME}\n", aside, binaries, account)
        aside.rename(cluster)
        _sync_directory(cluster.parent)
    finally:
        remove_tree(aside)


def _run_sql(sql: str, cluster: Path, binaries: Path, account: Account) -> None:
    """Run `sql`, a statement a line, as superuser on the stopped cluster: no sign-in has to be opened."""
    options = ["-c", "exit_on_error=on", "-c", "log_min_error_statement=panic"]
    command: list[str | Path] = [binaries / "postgres", "--single", "-D", cluster, *options, "postgres"]
    done = run(command, account=account, stdin=sql)
    if done.returncode != 0:
        raise failure("PostgreSQL could not set up CHM's role and database", done.stdout, cluster)


def _check(cluster: Path, binaries: Path, account: Account) -> None:
    """Raise EmbeddedError unless `cluster` is one these programs can serve as `account`."""
    try:
        made_by = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise EmbeddedError(f"{cluster} is not a PostgreSQL cluster: move it away.") from None
    if cluster.stat().st_uid != account.uid:
        raise EmbeddedError(
            f"{cluster} belongs to user id {cluster.stat().st_uid} and PostgreSQL would run as {account.uid}:"
            " start CHM as the user who did so the first time, or choose another data directory."
        )
    ours = run([binaries / "postgres", "--version"], account=account).stdout.split()[-1].partition(".")[0]
    if made_by != ours:
        raise EmbeddedError(
            f"{cluster} was made by PostgreSQL {made_by} and this is PostgreSQL {ours}: carry the data over"
            " with the old version's pg_dump, or choose another data directory."
        )


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
