"""The bulk write of runs: COPY where all keys are new, else a stage and one statement that holds the whole write rule.

``t`` is the row that stands, ``e`` the record that arrives. ``last(x)`` is the latest moment that x knows of:

1. Re-run: ``e.attempt_at > last(t)``: e replaces the row whole, nulls included.
2. Stale: else ``t.attempt_at > last(e)``: e changes nothing.
3. Same attempt: status, finished_at and source_updated_at come together from the greater key; every other field
   merges by an operation that is free of order (least, greatest, longest). A null never wins.
4. The duration is the difference of the two times where both are known, else the greatest given.
5. Nothing is written unless the result differs from the row.
6. ``content_hash`` is that of the record which was written last, the one that made the row what it is. To write that
   record again would change nothing: a row that a record made is the record's own, and every operation of 3 and 4
   gives the same when it is done twice. So a record that bears its row's hash is left out without asking the rule.
   One kind is always asked: a record whose ``attempt_at`` is later than all else it knows of may by 1 replace the very
   row that it was merged into by 3. Its merge leaves a null.
"""

from __future__ import annotations

STAGE = "chm_run_stage"

HASH_SEED = 2
"""Part of every ``content_hash``. Another write rule or another order of the facts takes another number: what was
written before is asked anew."""

# What is written of a run, with the type COPY sends it as; the types that stand are those of ``runs``. A status goes as
# the bytes of its label, ids and a payload as the bytes of their binary form: none needs a dumper of its own.
COLUMNS = {
    "id": "bytea",
    "pipeline_id": "bytea",
    "external_run_id": "text",
    "status": "text",
    "started_at": "timestamptz",
    "finished_at": "timestamptz",
    "duration_seconds": "float8",
    "rows_processed": "int8",
    "error_message": "text",
    "status_reason": "text",
    "attempt_at": "timestamptz",
    "source_updated_at": "timestamptz",
    "payload": "bytea",
    "content_hash": "int8",
    "updated_by": "text",
}

_KEY = ("pipeline_id", "external_run_id")
# The order in which every writer takes its locks: bytewise, as Python sorts too, whatever the database's collation.
_LOCK_ORDER = 'e.pipeline_id, e.external_run_id COLLATE "C"'
# What a record says of a run, and what the write rule merges.
FACTS = tuple(name for name in COLUMNS if name not in ("id", *_KEY, "content_hash", "updated_by"))

_COPIED = f"{', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)"

KNOWN_PIPELINES = "SELECT id FROM pipelines WHERE id = ANY(%s)"
"""Tell which of these pipelines there are."""

KNOWN_HASHES = """
    SELECT e.place, t.content_hash
    FROM unnest(%s::uuid[], %s::text[]) WITH ORDINALITY AS e (pipeline_id, external_run_id, place)
    CROSS JOIN LATERAL (
        SELECT content_hash FROM runs r
        WHERE r.pipeline_id = e.pipeline_id AND r.external_run_id = e.external_run_id
        LIMIT 1
    ) t
"""
"""Tell which of these keys, given as two arrays, stand already: their places, from 1, and their rows' hashes."""

KNOWN_HASHES_OF_ONE = """
    SELECT external_run_id, content_hash FROM runs
    WHERE pipeline_id = (SELECT %s::uuid) AND external_run_id = ANY (ARRAY(SELECT unnest(%s::text[])))
"""
"""The same for the external ids of one pipeline, which gives them back: one walk along the index, not one a key.

The values stand in queries of their own to hide them from the planner, which would else read all runs of a pipeline
that it takes for a small one.
"""

COPY_NEW = f"COPY runs ({_COPIED}"
"""Write records whose keys are all new, in the order of their keys. One that stands meanwhile is a unique violation.

The write rule leaves a run's first record as it is: this writes the row that MERGE and UPSERT would insert.
"""

MAKE_STAGE = f"CREATE TEMP TABLE {STAGE} AS SELECT 0::int4 AS page, {', '.join(COLUMNS)} FROM runs WITH NO DATA"

PREPARE_TO_MERGE = f"""
    SELECT pg_table_size(to_regclass('pg_temp.{STAGE}'))
    FROM set_config('enable_hashjoin', 'off', true) a, set_config('enable_mergejoin', 'off', true) b
"""
"""Give the stage's size in bytes, or null where there is none: a rollback may have removed it.

Nested loops alone keep the stage's order, in which the rows are locked, whatever the planner thinks of a stage without
statistics.
"""

EMPTY_STAGE = f"TRUNCATE {STAGE}"
STAGE_BYTES = 2 * 1024 * 1024
"""How large the stage may grow, its pages told apart by their numbers, before it is emptied.

To empty it after every page (ON COMMIT DELETE ROWS) took a seventh of a replay's time, and DELETE gives no space back.
"""

JSONB_VERSION = b"\x01"
"""What jsonb's binary form begins with, before the JSON text."""

COPY_STAGE = f"COPY {STAGE} (page, {_COPIED}"


def _last(x: str) -> str:
    return f"coalesce({x}.finished_at, {x}.started_at, {x}.attempt_at)"


def _key(x: str) -> str:
    """What decides between two reports of one attempt. The status enum is ordered by who wins a tie."""
    return (
        f"({x}.status <> 'running', coalesce({x}.finished_at, '-infinity'), "
        f"coalesce({x}.source_updated_at, '-infinity'), {x}.status)"
    )


def _greater_text(t: str, e: str, name: str) -> str:
    """The longer of two texts, then the greater; bytewise, so that no collation can change the answer."""
    mine, theirs = f"{t}.{name}::text", f"{e}.{name}::text"
    return (
        f"CASE WHEN {e}.{name} IS NULL THEN {t}.{name} WHEN {t}.{name} IS NULL THEN {e}.{name} "
        f'WHEN (length({theirs}), {theirs} COLLATE "C") > (length({mine}), {mine} COLLATE "C") '
        f"THEN {e}.{name} ELSE {t}.{name} END"
    )


def _same_attempt(t: str, e: str) -> dict[str, str]:
    """Rule 3 and 4: the merge of two reports of one attempt, a SQL expression a column."""
    e_wins = f"{_key(e)} > {_key(t)}"
    merged = {
        name: f"CASE WHEN {e_wins} THEN {e}.{name} ELSE {t}.{name} END"
        for name in ("status", "finished_at", "source_updated_at")
    }
    merged["started_at"] = f"LEAST({t}.started_at, {e}.started_at)"
    merged |= {name: f"GREATEST({t}.{name}, {e}.{name})" for name in ("attempt_at", "rows_processed")}
    merged |= {name: _greater_text(t, e, name) for name in ("error_message", "status_reason", "payload")}
    # Two reports may disagree so far that the run ends before it starts: then it took no time, not less.
    took = f"extract(epoch FROM ({merged['finished_at']}) - {merged['started_at']})::float8"
    merged["duration_seconds"] = (
        # GREATEST passes over nulls: it must not make a duration of zero out of an unknown one.
        f"CASE WHEN {took} IS NULL THEN GREATEST({t}.duration_seconds, {e}.duration_seconds) "
        f"ELSE GREATEST(0, {took}) END"
    )
    return merged


def _merge(t: str, e: str) -> tuple[str, str]:
    """The result of the write rule, as assignments to the columns, and the condition under which anything changes."""
    rerun = f"coalesce({e}.attempt_at > {_last(t)}, false)"
    stale = f"coalesce({t}.attempt_at > {_last(e)}, false)"
    same = _same_attempt(t, e)
    result = {name: f"CASE WHEN {rerun} THEN {e}.{name} ELSE {same[name]} END" for name in FACTS}
    differs = " OR ".join(
        f"({_as_compared(name, result[name])}) IS DISTINCT FROM {_as_compared(name, f'{t}.{name}')}" for name in FACTS
    )
    # A replay says what the row says already: one look at both, byte by byte, and the rule itself is not asked.
    says_more = f"record_image_ne({_facts_of(e)}, {_facts_of(t)})"
    result["content_hash"] = f"CASE WHEN {e}.attempt_at > {_last(e)} THEN NULL ELSE {e}.content_hash END"
    assignments = ", ".join(f"{name} = {expression}" for name, expression in result.items())
    return (
        f"{assignments}, updated_by = {e}.updated_by, ingested_at = now(), updated_at = now()",
        f"{says_more} AND ({rerun} OR NOT {stale}) AND ({differs})",
    )


def _facts_of(x: str) -> str:
    return f"ROW({', '.join(f'{x}.{name}' for name in FACTS)})"


def _as_compared(name: str, expression: str) -> str:
    """What two values of a field are compared by: jsonb calls 1 and 1.0 equal, but payloads merge by their text."""
    return f"({expression})::text" if name == "payload" else expression


def _insert(*, keep: str, on_conflict: str) -> str:
    # Sorted keys: writers whose pages overlap take their locks in one order and cannot deadlock.
    # LATERAL with LIMIT 1: always the unique index, whatever the planner thinks of a stage without statistics.
    return f"""
        WITH written AS (
        INSERT INTO runs AS t ({", ".join(COLUMNS)})
        SELECT {", ".join(f"e.{name}" for name in COLUMNS)}
        FROM {STAGE} e
        LEFT JOIN LATERAL (
            SELECT * FROM runs r
            WHERE r.pipeline_id = e.pipeline_id AND r.external_run_id = e.external_run_id
            LIMIT 1
        ) t ON true
        WHERE e.page = %s AND ({keep})
        ORDER BY {_LOCK_ORDER}
        ON CONFLICT ({", ".join(_KEY)}) {on_conflict}
        RETURNING t.xmax = 0 AS created
        )
        SELECT count(*), count(*) FILTER (WHERE created) FROM written
    """


def _upsert() -> str:
    # The anti-join spares rows that would not change the lock (and the WAL) that ON CONFLICT takes even when its
    # WHERE is false; the WHERE holds the rule against what another writer did in between.
    _, differs_from_row = _merge("t", "e")
    assignments, differs_from_locked = _merge("t", "excluded")
    return _insert(
        keep=f"t.id IS NULL OR ({differs_from_row})",
        on_conflict=f"DO UPDATE SET {assignments} WHERE {differs_from_locked}",
    )


def _merge_statement() -> str:
    assignments, differs = _merge("t", "e")
    return f"""
        WITH written AS (
        MERGE INTO runs t
        USING (SELECT * FROM {STAGE} e WHERE page = %s ORDER BY {_LOCK_ORDER}) e
        ON {" AND ".join(f"t.{name} = e.{name}" for name in _KEY)}
        WHEN MATCHED AND {differs} THEN
            UPDATE SET {assignments}
        WHEN NOT MATCHED THEN
            INSERT ({", ".join(COLUMNS)}) VALUES ({", ".join(f"e.{name}" for name in COLUMNS)})
        RETURNING merge_action() = 'INSERT' AS created
        )
        SELECT count(*), count(*) FILTER (WHERE created) FROM written
    """


MERGE = _merge_statement()
"""The same as UPSERT in one look a row where UPSERT takes two, for PostgreSQL 17 and later.

It knows nothing of rows that another writer inserts meanwhile: those end it with a unique violation, and UPSERT is
for what is left then.
"""

MERGE_SINCE_VERSION = 170000

UPSERT = _upsert()
"""Write the staged records of one page by the write rule. Gives how many were written, and how many are new."""

INSERT_NEW = _insert(keep="t.id IS NULL", on_conflict="DO NOTHING")
"""Write the staged records of one page whose keys are free. Gives the same two counts."""
