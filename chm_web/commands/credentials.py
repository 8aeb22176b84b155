"""What the commands share that work on files of credentials."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from chm_web.services.exceptions import ServiceError

P = ParamSpec("P")
R = TypeVar("R")


def credentials_file(variable: str, default: Path) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give the option ``--file`` as ``path``: by default the file that the app uses."""
    value = os.environ.get(variable, "").strip()
    return click.option(
        "--file",
        "path",
        type=click.Path(dir_okay=False, path_type=Path),
        default=Path(value).expanduser() if value else default,
        help=f"The file (default: that of {variable}).",
    )


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Tell a refusal in words instead of a traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ServiceError as err:
            raise click.ClickException(" ".join([err.message, *(detail.issue for detail in err.details)])) from err

    return wrapped
