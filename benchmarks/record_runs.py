"""``record_runs`` against plain COPY of the same records into the same table, a round of each in turn.

Every round begins with the same table: what a round wrote is deleted and vacuumed away. Which of the two goes first
changes from round to round, so that what the machine does beside is shared fairly.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from rich.progress import track

from benchmarks.environment import BENCH_MARK, Bench
from benchmarks.report import Line, Report, at_least
from benchmarks.samples import Batch
from benchmarks.writer import Writers, Written

_MARKER = "SELECT id FROM runs ORDER BY id DESC LIMIT 1"
_FINGERPRINT = "SELECT count(*), sum(hashtext(ctid::text || xmin::text)::bigint) FROM runs WHERE id > %s"
# A run before it had a hash, or one that several sources report in turn, is merged and not told by its hash.
_FORGET_HASHES = "UPDATE runs SET content_hash = NULL WHERE id > %s AND starts_with(external_run_id, %s)"
LONG_SESSION_PAGES = 3000
# Feeds are read again from some minutes before the last reading: most of such a page is known.
OVERLAP_NEW_EVERY = 10
_rounds = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to write."""

    page_size: int
    writers: int
    mixed: bool

    def __str__(self) -> str:
        pages = "many pipelines a page" if self.mixed else "one pipeline a page"
        return f"pages of {self.page_size:,}, {pages}, {self.writers} writer{'s' * (self.writers > 1)}"


CASES = (
    Case(page_size=500, writers=1, mixed=True),
    Case(page_size=500, writers=2, mixed=True),
    Case(page_size=500, writers=1, mixed=False),
    Case(page_size=500, writers=2, mixed=False),
    Case(page_size=1000, writers=1, mixed=True),
    Case(page_size=1000, writers=1, mixed=False),
)


@dataclass
class Rates:
    """Rows a second of every round, and what replays did to the database."""

    copy: list[float] = field(default_factory=list)
    fresh: list[float] = field(default_factory=list)
    replay: list[float] = field(default_factory=list)
    overlap: list[float] = field(default_factory=list)
    replay_wal_bytes: list[int] = field(default_factory=list)
    replay_rows: int = 0
    replay_writes: int = 0
    replay_versions: int = 0

    def ratio(self, over: Sequence[float], under: Sequence[float]) -> float:
        """The median of the rounds' own ratios: the two of a round ran next to each other."""
        return statistics.median(a / b for a, b in zip(over, under, strict=True))


def run(bench: Bench) -> Report:
    """Measure all cases and report."""
    rounds, rows = (2, 5_000) if bench.quick else (5, 20_000)
    found: dict[Case, Rates] = {}
    for case in CASES:
        found[case] = rates = Rates()
        # New sessions for every case: what one leaves in a session must not be the next one's burden.
        with Writers(case.writers, bench.environ) as writers:
            # The first round warms up: prepared statements, caches.
            _round(bench, writers, case, rows // 4, Rates(), copy_first=True)
            for number in track(range(rounds), str(case), console=bench.console, transient=True):
                _round(bench, writers, case, rows, rates, copy_first=number % 2 == 0)
        bench.say(f"{case}: COPY {_rate(rates.copy)}, fresh {_rate(rates.fresh)}, replay {_rate(rates.replay)}")
    endurance = _long_session(bench, rows, LONG_SESSION_PAGES // (20 if bench.quick else 1))
    if bench.profile:
        _profile(bench, rows)
    bench.rebuild_indexes()
    method = (
        f"{rounds} rounds a case of {rows:,} rows a writer, COPY and `record_runs` in turn, a transaction a page, "
        "every writer a process of its own. Median (lowest to highest); ratios are medians of the rounds' own."
    )
    return Report(title="record_runs", method=method, lines=[*_lines(found), *endurance])


def _round(bench: Bench, writers: Writers, case: Case, rows: int, rates: Rates, *, copy_first: bool) -> None:
    def batches() -> list[Batch]:
        # New keys every time: what a round finds in the indexes must not be another round's leavings.
        number = next(_rounds)
        return [
            Batch(
                round=number,
                writer=writer,
                rows=rows,
                page_size=case.page_size,
                mixed=case.mixed,
                until=datetime.now(UTC),
            )
            for writer in range(case.writers)
        ]

    for how in ("copy", "record") if copy_first else ("record", "copy"):
        with bench.connect() as connection:
            (marker,) = connection.execute(_MARKER).fetchone() or (None,)
        if how == "copy":
            rates.copy.append(_rows_per_second(writers.write("copy", batches())))
        else:
            same = batches()
            written = writers.write("record_runs", same)
            if sum(part.created for part in written) != rows * case.writers:
                raise AssertionError("record_runs did not create every run")
            rates.fresh.append(_rows_per_second(written))
            _replay(bench, writers, same, rates, marker)
            overlapping = [replace(batch, new_every=OVERLAP_NEW_EVERY) for batch in same]
            rates.overlap.append(_rows_per_second(writers.write("record_runs", overlapping)))
        with bench.connect() as connection:
            connection.execute(
                "DELETE FROM runs WHERE id > %s AND starts_with(external_run_id, %s)", (marker, BENCH_MARK)
            )
        bench.vacuum()


def _replay(bench: Bench, writers: Writers, batches: list[Batch], rates: Rates, marker: object) -> None:
    """Write the same again, and see what that did to rows and WAL."""
    with bench.connect() as connection:
        before = connection.execute(_FINGERPRINT, (marker,)).fetchone()
        (lsn,) = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone() or (None,)
        written = writers.write("record_runs", batches)
        wal = connection.execute("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", (lsn,)).fetchone() or (0,)
        after = connection.execute(_FINGERPRINT, (marker,)).fetchone()
    rates.replay.append(_rows_per_second(written))
    rates.replay_wal_bytes.append(int(wal[0]))
    rates.replay_rows += sum(batch.rows for batch in batches)
    rates.replay_writes += sum(part.created + part.updated for part in written)
    rates.replay_versions += int(before != after)


def _rows_per_second(parts: list[Written]) -> float:
    rows = sum(part.created + part.updated + part.unchanged for part in parts)
    return rows / (max(part.ended for part in parts) - min(part.started for part in parts))


def _rate(rates: Sequence[float]) -> str:
    return f"{statistics.median(rates):,.0f} rows/s ({min(rates):,.0f} to {max(rates):,.0f})"


def _lines(found: dict[Case, Rates]) -> list[Line]:
    lines = []
    for case, rates in found.items():
        lines += [
            Line(what=f"plain COPY, {case}", measured=_rate(rates.copy)),
            Line(what=f"record_runs fresh, {case}", measured=_rate(rates.fresh)),
            Line(what=f"record_runs replayed, {case}", measured=_rate(rates.replay)),
            Line(
                what=f"record_runs, one in {OVERLAP_NEW_EVERY} new and the others replayed, {case}",
                measured=_rate(rates.overlap),
            ),
            at_least("— fresh / COPY", rates.ratio(rates.fresh, rates.copy), 0.8, digits=2),
            at_least("— replay / fresh", rates.ratio(rates.replay, rates.fresh), 2.0, digits=2),
        ]
        alone = found.get(Case(page_size=case.page_size, writers=1, mixed=case.mixed))
        if case.writers == 2 and alone:
            gain = statistics.median(rates.fresh) / statistics.median(alone.fresh)
            lines.append(Line(what="— two writers / one, fresh", measured=f"{gain:.2f}"))
    everything = list(found.values())
    wal = sum(sum(rates.replay_wal_bytes) for rates in everything)
    replayed = sum(rates.replay_rows for rates in everything)
    writes = sum(rates.replay_writes + rates.replay_versions for rates in everything)
    lines += [
        Line(
            what=f"rows written by replaying {replayed:,} rows (counts, xmin and ctid)",
            measured=f"{writes}",
            target="0",
            holds=writes == 0,
        ),
        Line(
            what="WAL of a replay, bytes a row (checkpoints and autovacuum included)", measured=f"{wal / replayed:.1f}"
        ),
    ]
    return lines


def _long_session(bench: Bench, rows: int, pages: int) -> list[Line]:
    """Replay page after page by way of the stage in one session, as over years of history: is the last as fast?"""
    batches = [Batch(round=next(_rounds), writer=0, rows=rows, page_size=500, mixed=True, until=datetime.now(UTC))]
    turns = max(pages * 500 // rows, 2)
    with bench.connect() as connection:
        (marker,) = connection.execute(_MARKER).fetchone() or (None,)
    with Writers(1, bench.environ) as writers:
        fresh = writers.write("record_runs", batches)
        with bench.connect() as connection:
            connection.execute(_FORGET_HASHES, (marker, BENCH_MARK))
        parts = [
            writers.write("record_runs", batches)[0]
            for _ in track(range(turns), "a long session", console=bench.console, transient=True)
        ]
    with bench.connect() as connection:
        connection.execute("DELETE FROM runs WHERE starts_with(external_run_id, %s)", (BENCH_MARK,))
    bench.vacuum()
    # The first turn still meets rows that nobody has read yet; medians over a tenth even out the machine's moods.
    tenth = max(turns // 10, 1)
    early = statistics.median(_rows_per_second([part]) for part in parts[:tenth])
    late = statistics.median(_rows_per_second([part]) for part in parts[-tenth:])
    stages = (
        f"{fresh[0].stage_bytes / 1024:,.0f} KiB after {rows // 500} pages, {parts[-1].stage_bytes / 1024:,.0f} KiB"
    )
    return [
        at_least(
            f"{turns * rows // 500:,} pages of runs without a hash replayed in one session: last tenth / first",
            late / early,
            0.9,
            digits=2,
        ),
        Line(what="— the last tenth", measured=f"{late:,.0f} rows/s"),
        Line(what="— the session's stage", measured=f"{stages} at the end"),
    ]


def _profile(bench: Bench, rows: int) -> None:
    """Write where the time goes in one writer, fresh and replayed, to a file."""
    batches = [Batch(round=next(_rounds), writer=0, rows=rows, page_size=500, mixed=True, until=datetime.now(UTC))]
    with Writers(1, bench.environ) as writers:
        parts = [writers.write("record_runs", batches, profile=True)[0].profile for _ in range(2)]
    target = bench.data_dir / "record_runs.profile.txt"
    target.write_text(f"FRESH\n{parts[0]}\nREPLAY\n{parts[1]}", encoding="utf-8")
    with bench.connect() as connection:
        connection.execute("DELETE FROM runs WHERE starts_with(external_run_id, %s)", (BENCH_MARK,))
    bench.vacuum()
    bench.say(f"The profile is in {target}")
