"""What is wrong with an installation and what to do about it: how findings are told, and those of the database."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy.engine import make_url

DOCTOR = "chm doctor"
"""What the database calls the sessions of those who look."""

OLDEST_POSTGRESQL = 15
# The health of the present is told from that of the past by five minutes.
CLOCK_MAY_DIFFER = timedelta(seconds=10)
CLOCK_MUST_NOT_DIFFER = timedelta(minutes=2)


class Level(enum.StrEnum):
    """How grave a finding is. Only a failure keeps CHM from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found; ``remedy`` says what to do unless all is well."""

    check: str
    level: Level
    message: str
    remedy: str = ""


_FACTS = """
    SELECT current_setting('server_version_num')::int / 10000 AS version,
        current_setting('server_encoding') AS encoding,
        pg_is_in_recovery() AS is_standby, current_setting('transaction_read_only') = 'on' AS is_read_only,
        has_database_privilege(current_database(), 'TEMPORARY') AS may_stage,
        has_database_privilege(current_database(), 'CREATE')
            AND has_schema_privilege('public', 'CREATE') AS may_migrate,
        pg_size_pretty(pg_database_size(current_database())) AS size, current_database() AS name,
        current_user AS role, clock_timestamp() AS clock,
        (
            SELECT string_agg(DISTINCT t.name, ', ')
            FROM unnest(ARRAY['clients', 'pipelines', 'runs', 'alert_rules']) t(name)
            CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) needed(privilege)
            WHERE to_regclass(t.name) IS NOT NULL AND NOT has_table_privilege(t.name, needed.privilege)
        ) AS closed_tables
"""


def diagnose_database(database_url: str) -> list[Finding]:
    """Look at the database from outside of the app, which could not work with some that are wrong.

    Args:
        database_url: as the configuration has it.
    """
    url = make_url(database_url)
    # By its parts, since libpq repeats an address that it cannot read, with the password.
    _, parts = url.get_dialect()().create_connect_args(url)
    try:
        # With an encoding named, a database that has none (SQL_ASCII) answers in text as well.
        with psycopg.connect(
            **{"connect_timeout": 5, **parts, "client_encoding": "utf8", "application_name": DOCTOR},
            row_factory=namedtuple_row,
        ) as connection:
            facts: Any = connection.execute(_FACTS).fetchone()
    except psycopg.Error as err:
        remedy = "Check that PostgreSQL runs and that CHM_DATABASE_URL names its host, database, user and password."
        return [Finding("database", Level.FAIL, f"The database cannot be used: {reason_of(err)}", remedy)]
    return [_judge_database(facts), _judge_rights(facts), judge_clock(facts.clock, now=datetime.now(UTC))]


def reason_of(err: psycopg.Error) -> str:
    """Give what an error of libpq's says of the last address that was tried, without the hints below it."""
    said = [line for line in str(err).splitlines() if line.strip() and not line[0].isspace()]
    return said[-1] if said else type(err).__name__


def _judge_database(facts: Any) -> Finding:
    if facts.version < OLDEST_POSTGRESQL:
        message = f"PostgreSQL {facts.version} is too old."
        return Finding("database", Level.FAIL, message, f"CHM needs PostgreSQL {OLDEST_POSTGRESQL} or later.")
    if facts.encoding != "UTF8":
        message = f"The database {facts.name} is in {facts.encoding}, which cannot hold every name."
        remedy = "Make one in UTF-8: CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8'."
        return Finding("database", Level.FAIL, message, remedy)
    if facts.is_standby or facts.is_read_only:
        what = "is a standby" if facts.is_standby else "takes no writes (default_transaction_read_only)"
        remedy = "Point CHM_DATABASE_URL at the primary server, or let the role write."
        return Finding("database", Level.FAIL, f"The database {facts.name} {what}.", remedy)
    return Finding("database", Level.OK, f"PostgreSQL {facts.version}, {facts.name}, UTF-8, {facts.size}.")


def _judge_rights(facts: Any) -> Finding:
    if facts.closed_tables:
        message = f"The role {facts.role} may not read and write {facts.closed_tables}."
        remedy = f"Let {facts.role} own them, or grant it SELECT, INSERT, UPDATE and DELETE on them."
        return Finding("rights", Level.FAIL, message, remedy)
    if not facts.may_stage:
        message = f"The role {facts.role} may make no temporary tables, which taking runs in needs."
        remedy = f"GRANT TEMPORARY ON DATABASE {facts.name} TO {facts.role}"
        return Finding("rights", Level.FAIL, message, remedy)
    if not facts.may_migrate:
        message = f"The role {facts.role} may make no tables and schemas, so upgrades of the schema will fail."
        remedy = (
            f"GRANT CREATE ON DATABASE {facts.name} and ON SCHEMA public TO it, or run chm db upgrade as the owner."
        )
        return Finding("rights", Level.WARN, message, remedy)
    return Finding("rights", Level.OK, f"The role {facts.role} may do what CHM needs.")


def judge_clock(clock: datetime, *, now: datetime) -> Finding:
    """Compare the database's ``clock`` with ours."""
    apart = abs(clock - now)
    if apart <= CLOCK_MAY_DIFFER:
        return Finding("clock", Level.OK, "The database's clock and this machine's agree.")
    level = Level.FAIL if apart > CLOCK_MUST_NOT_DIFFER else Level.WARN
    message = (
        f"The database's clock is {apart.total_seconds():.0f} s {'ahead of' if clock > now else 'behind'} this one."
    )
    return Finding("clock", level, message, "Let both machines keep their time by NTP.")
