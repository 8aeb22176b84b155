"""What the benchmarks found, kept as JSON in the data directory and written out as benchmarks/RESULTS.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.environment import Bench
from chm_web.config import ROOT

RESULTS = ROOT / "benchmarks" / "RESULTS.md"
CUSTOMER_RUNS_PER_SECOND = 50
_SETTINGS = (
    "shared_buffers",
    "max_wal_size",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_compression",
    "jit",
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure. ``holds`` is None where there is no target."""

    what: str
    measured: str
    target: str = ""
    holds: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one benchmark found, and how it was measured."""

    title: str
    method: str
    lines: Sequence[Line] = field(default_factory=list)


def at_least(what: str, value: float, target: float, *, unit: str = "", digits: int = 0) -> Line:
    """A figure that should reach ``target``."""
    return Line(
        what=what,
        measured=f"{value:,.{digits}f}{unit}",
        target=f"≥ {target:,.{digits}f}{unit}",
        holds=value >= target,
    )


def at_most(what: str, value: float, target: float, *, unit: str = "", digits: int = 0) -> Line:
    """A figure that should not pass ``target``."""
    return Line(
        what=what,
        measured=f"{value:,.{digits}f}{unit}",
        target=f"≤ {target:,.{digits}f}{unit}",
        holds=value <= target,
    )


def save(bench: Bench, name: str, report: Report, runs: int) -> None:
    """Keep a benchmark's latest report, and write all that are kept to RESULTS.md."""
    kept_file = bench.data_dir / "results.json"
    kept = json.loads(kept_file.read_text(encoding="utf-8")) if kept_file.exists() else {}
    kept[name] = asdict(report) | {"date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "commit": _commit(), "runs": runs}
    kept_file.write_text(json.dumps(kept, indent=1, ensure_ascii=False), encoding="utf-8")
    if bench.quick:
        bench.say("A quick run says too little for benchmarks/RESULTS.md: it is left as it is.")
        return
    RESULTS.write_text(_markdown(_machine(bench), kept), encoding="utf-8")


def _markdown(machine: Sequence[tuple[str, str]], kept: dict[str, dict[str, Any]]) -> str:
    parts = [
        "# Benchmarks\n\nWritten by `make bench`; do not edit. Absolute figures depend on the machine, and everything "
        "(load, workers, PostgreSQL, Redis) shares its cores. Ratios were measured side by side in one run.\n\n",
        "| machine | |\n|---|---|\n",
        *(f"| {name} | {value} |\n" for name, value in machine),
    ]
    for report in kept.values():
        parts.append(f"\n## {report['title']}\n\n{report['method']}\n\n")
        parts.append(f"{report['date']}, commit {report['commit']}, {report['runs']:,} runs in the table.\n\n")
        parts.append("| what | measured | target | holds |\n|---|---|---|---|\n")
        for line in report["lines"]:
            holds = {True: "yes", False: "**no**", None: ""}[line["holds"]]
            parts.append(f"| {line['what']} | {line['measured']} | {line['target']} | {holds} |\n")
    return "".join(parts)


def _machine(bench: Bench) -> list[tuple[str, str]]:
    with bench.connect() as connection:
        version = connection.execute("SHOW server_version").fetchone() or ("?",)
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name", (list(_SETTINGS),)
        ).fetchall()
    return [
        ("processor", f"{_cpu_model()}, {os.cpu_count()} cores"),
        ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
        ("PostgreSQL", str(version[0])),
        ("settings", ", ".join(f"{name} = {value}" for name, value in rows)),
    ]


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text(encoding="utf-8").splitlines() if info.exists() else []:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """The commit that was measured, marked when files were changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
