"""Watches how much memory a process and its children take, by /proc."""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_EVERY_SECONDS = 0.05
_MIB = 1 << 20


class MemoryWatch:
    """Samples the resident memory of processes and of their new children for the length of a block.

    Children that are there at the beginning are passed over: RQ's scheduler is one.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._samples: dict[int, list[float]] = defaultdict(list)
        self._passed_over: set[int] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._passed_over = {child for pid in self._pids for child in children_of(pid)}
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    @property
    def worker_peak(self) -> float:
        """The largest of the watched processes, in MiB."""
        return max((max(self._samples[pid]) for pid in self._pids if self._samples[pid]), default=0.0)

    @property
    def child_peak(self) -> float:
        """The largest child, in MiB."""
        children = [samples for pid, samples in self._samples.items() if pid not in self._pids]
        return max((max(samples) for samples in children), default=0.0)

    @property
    def growth(self) -> tuple[float, float]:
        """Of the child that lived longest: MiB in the second eighth of its life, and in its last quarter.

        In its first moments a process still imports and opens connections: that is not what grows.
        """
        children = [samples for pid, samples in self._samples.items() if pid not in self._pids]
        longest = max(children, key=len, default=[])
        if len(longest) < 8:
            return (0.0, 0.0)
        eighth = len(longest) // 8
        return statistics.mean(longest[eighth : 2 * eighth]), statistics.mean(longest[-2 * eighth : -1])

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_SECONDS):
            for pid in self._pids:
                for process in (pid, *children_of(pid)):
                    size = 0.0 if process in self._passed_over else resident(process)
                    if size:
                        self._samples[process].append(size)


def children_of(pid: int) -> list[int]:
    """The ids of a process's children, none for one that is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def resident(pid: int, kind: str = "VmRSS") -> float:
    """Resident memory in MiB, of a kind that /proc names, 0 for a process that is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) * 1024 / _MIB
    except OSError:
        pass
    return 0.0
