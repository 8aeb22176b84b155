"""``python -m benchmarks``: run some or all benchmarks and write benchmarks/RESULTS.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import dashboards, end_to_end, http_api, migrations, pages, platforms, record_runs
from benchmarks.environment import Bench, BenchError, count_runs, open_bench
from benchmarks.report import Report, save
from chm_web.config import ROOT
from chm_web.embedded import EmbeddedError

BENCHMARKS: dict[str, Callable[[Bench], Report]] = {
    "record_runs": record_runs.run,
    "end_to_end": end_to_end.run,
    "platforms": platforms.run,
    "http": http_api.run,
    "pages": pages.run,
    "dashboards": dashboards.run,
    "migrations": migrations.run,
}
# These read the fleet as it is now: one that has told nothing for hours is late as a whole.
NEED_FRESH = {"http", "pages", "dashboards"}
DEFAULT_RUNS = 5_000_000
QUICK_RUNS = 100_000


def main() -> int:
    """Run the benchmarks that the command line names; gives the exit code."""
    options = _options()
    runs = options.runs or (QUICK_RUNS if options.quick else DEFAULT_RUNS)
    console = Console()
    try:
        names = options.names or list(BENCHMARKS)
        with open_bench(
            options.data_dir,
            runs=runs,
            console=console,
            quick=options.quick,
            profile=options.profile,
            fresh=not NEED_FRESH.isdisjoint(names),
        ) as bench:
            in_table = count_runs()
            for name in names:
                bench.say(f"\n{name}, on {in_table:,} runs")
                report = BENCHMARKS[name](bench)
                _show(bench, report)
                save(bench, name, report, in_table)
    except (BenchError, EmbeddedError) as err:
        console.print(str(err), style="red", markup=False)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run benchmarks.")
    parser.add_argument(
        "names", nargs="*", choices=[*BENCHMARKS, []], help=f"of {', '.join(BENCHMARKS)} (default: all)"
    )
    parser.add_argument("--runs", type=int, help=f"runs in the table (default: {DEFAULT_RUNS:,})")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_RUNS:,} runs and few rounds: does it work at all?"
    )
    parser.add_argument("--profile", action="store_true", help="also profile one writer of record_runs")
    parser.add_argument("--data-dir", type=Path, default=ROOT / ".chm-bench", help="where the servers keep their data")
    return parser.parse_args()


def _show(bench: Bench, report: Report) -> None:
    for line in report.lines:
        verdict = "" if line.holds is None else f"   {line.target}: {'yes' if line.holds else 'NO'}"
        bench.say(f"  {line.what}: {line.measured}{verdict}")


if __name__ == "__main__":
    sys.exit(main())
