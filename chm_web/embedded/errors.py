"""The one error of this package, and how a failed command becomes a sentence that helps."""

import errno
import shutil
from pathlib import Path

_DISK_FULL_TEXTS = ("No space left on device", "Disk quota exceeded")
_DISK_FULL_CODES = (errno.ENOSPC, errno.EDQUOT)
# PostgreSQL writes its log of changes in files of this size: with less free space it cannot start.
_LEAST_FREE_BYTES = 16 * 1024 * 1024
_SHOWN_LINES = 15


class EmbeddedError(Exception):
    """The embedded servers cannot run; the message says what is wrong and what to do."""


def failure(what: str, output: str, directory: Path) -> EmbeddedError:
    """Return the error for a program that failed.

    `what` is a clause without a full stop, `output` what the program printed, `directory` where it writes.
    """
    # A full disk often leaves no room for the log line that would say so.
    if any(text in output for text in _DISK_FULL_TEXTS) or _free_bytes(directory) < _LEAST_FREE_BYTES:
        return _disk_full(what, directory)
    lines = "\n".join(output.strip().splitlines()[-_SHOWN_LINES:])
    return EmbeddedError(f"{what}. Its last lines:\n{lines}" if lines else f"{what} and printed nothing.")


def os_failure(error: OSError, directory: Path) -> EmbeddedError:
    """Return the error for a system call that failed while `directory` was prepared."""
    what = "The embedded servers cannot start"
    # A failed copy of a tree carries its causes as text only.
    if error.errno in _DISK_FULL_CODES or any(text in str(error) for text in _DISK_FULL_TEXTS):
        return _disk_full(what, directory)
    if isinstance(error, PermissionError):
        return EmbeddedError(
            f"{what}: {error}. Start as the user who owns {directory}, or choose another data directory."
        )
    return EmbeddedError(f"{what} in {directory}: {error}.")


def _disk_full(what: str, directory: Path) -> EmbeddedError:
    free = _free_bytes(directory) // (1024 * 1024)
    return EmbeddedError(
        f"{what}: no space left on the disk that holds {directory} ({free} MB free). Free at least 200 MB"
        " there, or choose a data directory on another disk, then start again."
    )


def _free_bytes(directory: Path) -> int:
    existing = next((path for path in (directory, *directory.parents) if path.exists()), Path("/"))
    return shutil.disk_usage(existing).free
