"""Files that their owner alone may read, not even for a moment anybody else, and that are whole or not there at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def write_private(path: Path, text: str, *, finish: Callable[[Path], None] | None = None) -> None:
    """Write a file, or replace it; one that is killed on the way leaves the file as it was.

    Args:
        path: the file.
        text: what it shall hold.
        finish: called with the finished file before it takes its place.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = begin_private(path)
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if finish is not None:
        finish(unfinished)
    unfinished.replace(path)


def begin_private(path: Path) -> Path:
    """Make an empty file beside ``path`` to write into, which takes its place when it is renamed.

    Raises:
        OSError: it cannot be made.
    """
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return unfinished
