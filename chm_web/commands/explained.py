"""Tells what keeps a command from its work in words instead of a traceback."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click
import psycopg
from sqlalchemy.exc import SQLAlchemyError

from chm_web.services.exceptions import ServiceError

P = ParamSpec("P")
R = TypeVar("R")


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Let a command end in words when it is refused, or when the database fails."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ServiceError as err:
            raise click.ClickException(in_words(err)) from err
        except (SQLAlchemyError, psycopg.Error) as err:
            raise click.ClickException(f"The database could not do this: {first_line(err)}") from err

    return wrapped


def in_words(err: ServiceError) -> str:
    """Give what was refused, and what is wrong with which field where the message does not say it already."""
    issues = [f"{each.field}: {each.issue.rstrip('.')}." for each in err.details if each.issue not in err.message]
    return " ".join([err.message, *issues])


def first_line(err: Exception) -> str:
    """Give what a database's error says; the lines after it are the statement and its values."""
    return (str(err).splitlines() or [type(err).__name__])[0]
