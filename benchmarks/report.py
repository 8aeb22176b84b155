"""What the benchmarks found, kept as JSON beside them and written out as benchmarks/RESULTS.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.environment import Bench, age_of_runs
from chm_web.config import ROOT

RESULTS = ROOT / "benchmarks" / "RESULTS.md"
KEPT = ROOT / "benchmarks" / "results.json"
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
    """Keep a benchmark's latest report of this kind of machine, and write all that are kept to RESULTS.md."""
    if bench.quick:
        bench.say("A quick run says too little for benchmarks/RESULTS.md: it is left as it is.")
        return
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    machine = _machine(bench)
    age = age_of_runs()
    # Milliseconds of one machine say nothing of another's: both stay.
    kept[f"{name} on {machine['processor']}"] = asdict(report) | {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
        "runs": runs,
        "newest_run_minutes": None if age is None else round(age.total_seconds() / 60),
        "machine": machine,
    }
    KEPT.write_text(json.dumps(dict(sorted(kept.items())), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    RESULTS.write_text(as_markdown(kept), encoding="utf-8")


def as_markdown(kept: dict[str, dict[str, Any]]) -> str:
    """Write reports as a page: the machines, then a section a report."""
    reports = sorted(kept.values(), key=lambda report: (report["title"], report["machine"]["processor"]))
    machines: list[dict[str, str]] = []
    for report in reports:
        if report["machine"] not in machines:
            machines.append(report["machine"])
    parts = [
        "# Benchmarks\n\nWritten by `make bench`; do not edit. Absolute figures depend on the machine, and everything "
        "(load, workers, PostgreSQL, Redis) shares its cores. Ratios were measured side by side in one run.\n"
    ]
    for number, machine in enumerate(machines, 1):
        parts.append(f"\n| machine {number} | |\n|---|---|\n")
        parts += [f"| {name} | {value} |\n" for name, value in machine.items()]
    for report in reports:
        number = machines.index(report["machine"]) + 1
        parts.append(f"\n## {report['title']}, machine {number}\n\n{report['method']}\n\n")
        minutes = report.get("newest_run_minutes")
        age = "" if minutes is None else f", the newest {minutes:,} minutes old"
        parts.append(f"{report['date']}, commit {report['commit']}, {report['runs']:,} runs in the table{age}.\n\n")
        parts.append("| what | measured | target | holds |\n|---|---|---|---|\n")
        for line in report["lines"]:
            holds = {True: "yes", False: "**no**", None: ""}[line["holds"]]
            parts.append(f"| {line['what']} | {line['measured']} | {line['target']} | {holds} |\n")
    return "".join(parts)


def _machine(bench: Bench) -> dict[str, str]:
    with bench.connect() as connection:
        version = connection.execute("SHOW server_version").fetchone() or ("?",)
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name", (list(_SETTINGS),)
        ).fetchall()
    return {
        "processor": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_version()}, {_build_of_python()}",
        "PostgreSQL": str(version[0]),
        "settings": ", ".join(f"{name} = {value}" for name, value in rows),
    }


def _build_of_python() -> str:
    """Tell how Python was built, which matters (docs/scaling.md). Distributions do so well without saying it."""
    if sys.base_prefix == "/usr":
        return "of the system"
    well = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return f"built with{'' if well else 'out'} optimisations"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text(encoding="utf-8").splitlines() if info.exists() else []:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """The commit that was measured, marked when files were changed since."""
    # What the benchmarks themselves have written is no change of what they measure.
    changed = _git("status", "--porcelain", "--", ".", *(f":!{path.relative_to(ROOT)}" for path in (RESULTS, KEPT)))
    commit = _git("rev-parse", "--short=10", "HEAD") or "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(*words: str) -> str:
    command = ["git", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
