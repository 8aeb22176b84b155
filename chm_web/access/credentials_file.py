"""A small JSON file of named credentials: read anew when it has changed, replaced whole, written by one at a time.

Credentials are deployment configuration, not domain data: no table holds them. Only hashes of secrets are kept.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from chm_web.private_files import write_private
from chm_web.services.exceptions import NotWritable, Unavailable

E = TypeVar("E")

# What identifies one state of a file: a replaced file has another inode even within one tick of the clock.
_Stamp = tuple[int, int, int]


class CredentialsFile(Generic[E]):
    """The entries of one file by their names. A file that is not there holds none."""

    def __init__(
        self,
        path: Path,
        *,
        load: Callable[[str, Mapping[str, Any]], E],
        dump: Callable[[E], Mapping[str, Any]],
    ) -> None:
        self.path = path
        self._load = load
        self._dump = dump
        self._seen: tuple[_Stamp | None, dict[str, E]] = (None, {})

    def entries(self) -> Mapping[str, E]:
        """Give the entries as the file holds them now.

        Raises:
            Unavailable: the file is there and cannot be read. Nobody is let in by what it said before.
        """
        try:
            status = self.path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            known, entries = self._seen
            if known != stamp:
                entries = self._parse(self.path.read_text(encoding="utf-8"))
                self._seen = (stamp, entries)
        except FileNotFoundError:
            return {}
        except OSError as err:
            raise Unavailable(f"The file of credentials {self.path.name} cannot be read: {err.strerror}.") from err
        except (ValueError, TypeError, KeyError, AttributeError) as err:
            raise Unavailable(f"The file of credentials {self.path.name} is damaged.") from err
        return entries

    @contextmanager
    def changing(self) -> Iterator[dict[str, E]]:
        """Give the entries to change; they are written when the block ends well. Others who change wait meanwhile.

        Raises:
            NotWritable: the file cannot be written.
            Unavailable: it cannot be read.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock_path = self.path.with_name(f"{self.path.name}.lock")
            with lock_path.open("a") as lock:
                self._give_to_owner(lock_path)
                fcntl.flock(lock, fcntl.LOCK_EX)
                entries = dict(self.entries())
                yield entries
                self._write(entries)
        except OSError as err:
            raise NotWritable(f"{self.path} cannot be written: {err.strerror}.") from err

    def _parse(self, text: str) -> dict[str, E]:
        return {name: self._load(name, values) for name, values in json.loads(text)["entries"].items()}

    def _write(self, entries: Mapping[str, E]) -> None:
        content = {"version": 1, "entries": {name: self._dump(entry) for name, entry in entries.items()}}
        write_private(self.path, json.dumps(content, indent=1, ensure_ascii=False), finish=self._give_to_owner)

    def _give_to_owner(self, made: Path) -> None:
        """Let root work on the file of a service without taking anything away from that service."""
        if os.geteuid() == 0:
            like = self.path if self.path.exists() else self.path.parent
            status = like.stat()
            os.chown(made, status.st_uid, status.st_gid)
