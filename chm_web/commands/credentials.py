"""What the commands share that work on files of credentials."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


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
