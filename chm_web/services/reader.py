"""The database role that dashboards read as. Roles belong to the whole server, so this is administration of it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.errors import DependentObjectsStillExist, InsufficientPrivilege
from psycopg.sql import Composed
from sqlalchemy.exc import DBAPIError

from chm_web.extensions import db
from chm_web.queries import reader_role as queries
from chm_web.services.audit import Named, log_change
from chm_web.services.exceptions import Conflict, FieldIssue, Invalid, NotFound, NotWritable, Unavailable
from chm_web.services.redaction import REDACTED

READER = "chm_reader"
STATEMENT_TIMEOUT_SECONDS = 30
SHORTEST_PASSWORD = 12

_KIND = "database role"
_ROLE_NAME = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, kw_only=True)
class Granted:
    """What was done: whether the role is new, its password if one was made up, and what it may do beyond reading."""

    is_new: bool
    made_up_password: str | None = field(repr=False)
    left_open: Sequence[str]


def grant_reader(
    *,
    role: str = READER,
    password: str | None = None,
    new_password: bool = False,
    with_error_texts: bool = False,
    statement_timeout_seconds: int = STATEMENT_TIMEOUT_SECONDS,
    by: str | None = None,
) -> Granted:
    """Make the role that may read the schema ``reporting`` and nothing else, or put right the one that is there.

    Everybody loses the right to make temporary tables in this database and to create things in its schema public,
    since the role would have these rights too; the role that CHM works as keeps the former.

    Args:
        role: its name.
        password: the one to set; without it a new role gets one made up, and a role that is there keeps its own.
        new_password: make a password up for a role that is there, too.
        with_error_texts: whether it may read the runs' error texts.
        statement_timeout_seconds: how long a statement of it may take.
        by: who does it, for the record of changes.

    Raises:
        Invalid: the name or the password cannot be used.
        Conflict: there is such a role, and it is not one that only reads.
        NotWritable: the database user may not do this.
        Unavailable: the database does not answer.
    """
    _check_password(password)
    with _administering(role) as (driver, place):
        is_new = not _find(driver, role)
        before = _state(driver, role)
        made_up = secrets.token_hex(24) if password is None and (is_new or new_password) else None
        statements = queries.grant_statements(
            place,
            verifier=_verifier(driver, role, password or made_up),
            with_error_texts=with_error_texts,
            statement_timeout_seconds=statement_timeout_seconds,
        )
        _execute(driver, statements)
        left_open = [row[0] for row in driver.execute(queries.LEFT_OPEN, {"role": role}).fetchall()]
        changes = _differences(before, _state(driver, role))
        if password or made_up:
            changes["password"] = (None if is_new else REDACTED, REDACTED)
        db.session.commit()
    log_change("create" if is_new else "update", Named(_KIND, role), changes, by)
    return Granted(is_new=is_new, made_up_password=made_up, left_open=left_open)


def revoke_reader(*, role: str = READER, by: str | None = None) -> None:
    """Take the role's rights away, and drop it. Sessions that it has open can read nothing more.

    ``by``: who does it, for the record of changes.

    Raises:
        Invalid: this cannot be such a role's name.
        NotFound: there is no such role.
        Conflict: the role is not one that only reads; or it has rights in other databases, and so stays there.
        NotWritable: the database user may not do this.
        Unavailable: the database does not answer.
    """
    with _administering(role) as (driver, place):
        if not _find(driver, role):
            raise NotFound(f"There is no role {role}.")
        before = _state(driver, role)
        _execute(driver, queries.revoke_statements(place))
        elsewhere = None
        try:
            with driver.transaction():
                driver.execute(queries.drop_statement(place))
        except DependentObjectsStillExist as err:
            elsewhere = err.diag.message_detail or str(err)
        changes = _differences(before, _state(driver, role))
        db.session.commit()
    log_change("update" if elsewhere else "delete", Named(_KIND, role), changes, by)
    if elsewhere:
        raise Conflict(
            f"{role} can read nothing here any more, but the role stays for its rights elsewhere: {elsewhere}"
        )


def grant_script(
    *,
    role: str = READER,
    password: str | None = None,
    with_error_texts: bool = False,
    statement_timeout_seconds: int = STATEMENT_TIMEOUT_SECONDS,
) -> str:
    """Give what ``grant_reader`` would do as SQL, for somebody who may do it. It holds a password only as its hash.

    Raises:
        Invalid: the name or the password cannot be used.
        Unavailable: the database does not answer.
    """
    _check_password(password)
    with _administering(role) as (driver, place):
        statements = queries.grant_statements(
            place,
            verifier=_verifier(driver, role, password),
            with_error_texts=with_error_texts,
            statement_timeout_seconds=statement_timeout_seconds,
        )
        script = _script(driver, place, statements)
    return script if password else f"{script}-- In psql, to set its password:\n-- \\password {role}\n"


def revoke_script(*, role: str = READER) -> str:
    """Give what ``revoke_reader`` would do as SQL, for somebody who may do it.

    Raises:
        Invalid: this cannot be such a role's name.
        Unavailable: the database does not answer.
    """
    with _administering(role) as (driver, place):
        return _script(driver, place, [*queries.revoke_statements(place), queries.drop_statement(place)])


Driver = psycopg.Connection[Any]


@contextmanager
def _administering(role: str) -> Iterator[tuple[Driver, queries.Place]]:
    """Give psycopg's own connection within the session's transaction, and where it is; tell in words what fails."""
    if not _ROLE_NAME.fullmatch(role):
        issue = "A role's name is 1 to 63 of a-z, 0-9 and _, begins with no digit and not with pg_."
        raise Invalid(issue, (FieldIssue("role", issue),))
    try:
        connection: Any = db.session.connection().connection
        driver: Driver = connection.driver_connection
        database, app_role = driver.execute(queries.WHERE_AM_I).fetchone() or ("", "")
        yield driver, queries.Place(role=role, database=database, app_role=app_role)
    except InsufficientPrivilege as err:
        raise NotWritable(f"The database user may not do this: {err.diag.message_primary}.") from err
    except (psycopg.OperationalError, DBAPIError) as err:
        raise Unavailable(f"The database does not answer: {str(err).splitlines()[0]}") from err
    except psycopg.Error as err:
        # Such as another administrator who changes the same role from another database at the same moment.
        raise Unavailable(f"The database could not do this: {str(err).splitlines()[0]}") from err
    finally:
        # After a commit there is nothing left to undo.
        db.session.rollback()


def _find(driver: Driver, role: str) -> bool:
    """Tell whether there is such a role.

    Raises:
        Conflict: there is, and it is none of those that only read.
    """
    # Two of these at once would both find no role.
    driver.execute("SELECT pg_advisory_xact_lock(hashtext('chm.reader'))")
    row = driver.execute(queries.SUSPICIONS, (role,)).fetchone()
    if row is None:
        return False
    reasons = ("CHM itself works as it", "it may administer", "it is a member of another role", "it owns something")
    found = [reason for reason, holds in zip(reasons, row, strict=True) if holds]
    if found:
        raise Conflict(f"There is a role {role} already that is more than a reader: {', '.join(found)}.")
    return True


_State = Mapping[str, str | None]


def _state(driver: Driver, role: str) -> _State:
    """Give what the role may do now, by name; of one that is not there, nothing."""
    row = driver.execute(queries.WHAT_IT_MAY, (role,)).fetchone() or (None, None)
    return dict(zip(("may_read", "statement_timeout"), row, strict=True))


def _differences(before: _State, after: _State) -> dict[str, tuple[str | None, str | None]]:
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def _execute(driver: Driver, statements: Sequence[Composed]) -> None:
    for statement in statements:
        driver.execute(statement)


def _script(driver: Driver, place: queries.Place, statements: Sequence[Composed]) -> str:
    lines = [f"-- To be run in the database {place.database}.", "BEGIN;"]
    lines += [f"{statement.as_string(driver)};" for statement in statements]
    return "\n".join([*lines, "COMMIT;", ""])


def _verifier(driver: Driver, role: str, password: str | None) -> str | None:
    """Give what PostgreSQL keeps of a password: made here, so that the server and its logs never see the password."""
    if password is None:
        return None
    return driver.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()


def _check_password(password: str | None) -> None:
    if password is None:
        return
    issue = None
    if len(password) < SHORTEST_PASSWORD:
        issue = f"The password needs at least {SHORTEST_PASSWORD} characters."
    elif not password.isprintable():
        issue = "The password holds characters that cannot be typed."
    if issue:
        raise Invalid(issue, (FieldIssue("password", issue),))
