"""Where the processes of one web server put their figures together, so that whichever is asked tells those of all.

prometheus_client decides when it is imported whether it counts in memory or in files; so the directory is named before.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share_figures() -> None:
    """Let all processes that this one's parent has started count in one place; what dead parents left is removed.

    For a process that a web server starts, before prometheus_client is imported. Where that place cannot be had, or a
    person on the same machine might have made it, each process counts for itself.
    """
    if VARIABLE in os.environ:
        return
    base = Path(tempfile.gettempdir()) / f"chm-metrics-{os.getuid()}"
    directory = base / _name_of(os.getppid())
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        facts = base.lstat()
        if facts.st_uid != os.getuid() or facts.st_mode & 0o077 or base.is_symlink():
            log.warning("%s is not ours alone: each process tells its own requests at /metrics", base)
            return
        for old in base.iterdir():
            if old.name != _name_of(int(old.name.partition("-")[0])):
                shutil.rmtree(old, ignore_errors=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    except (OSError, ValueError) as err:
        log.warning("%s cannot be used (%s): each process tells its own requests at /metrics", base, err)
        return
    os.environ[VARIABLE] = str(directory)


def _name_of(pid: int) -> str:
    """Name a process that is there as no other one was or will be named; one that is not there has another name."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"{pid}-gone"
    # Its start, in ticks since the machine's own. The name of the program, in brackets, may hold spaces.
    return f"{pid}-{stat.rpartition(')')[2].split()[19]}"
