"""The written data model against the database: its columns, constraints, indexes, and the table of a run's states."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from flask import Flask

from chm_web.extensions import db
from chm_web.models import RunStatus
from chm_web.services.runs import RunRecord, record_runs
from tests.conftest import TABLES
from tests.factories import find_run, make_pipeline
from tests.guides import ROOT

TEXT = (ROOT / "specs" / "001-chm-api-ingestion" / "data-model.md").read_text(encoding="utf-8")
SECTIONS = {
    name.strip(): text for name, _, text in (part.partition("\n") for part in re.split(r"^## ", TEXT, flags=re.M))
}
[SHARED] = [text for name, text in SECTIONS.items() if name.startswith("# ")]

COLUMNS = """
    SELECT column_name, CASE data_type WHEN 'USER-DEFINED' THEN udt_name
        WHEN 'timestamp with time zone' THEN 'timestamptz' ELSE data_type END, is_nullable = 'YES'
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name = :name
"""
# Without primary keys, which are named alike, and without what PostgreSQL 18 makes of NOT NULL.
NAMES = """
    SELECT conname FROM pg_constraint WHERE conrelid = CAST(:name AS regclass) AND contype NOT IN ('n', 'p')
    UNION
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = CAST(:name AS regclass) AND NOT i.indisprimary
"""


def rows_of(text: str, header: str) -> list[list[str]]:
    """The cells of the table whose header begins so."""
    [table] = re.findall(rf"^\| {re.escape(header)} .*\n\|[-|]+\n((?:\|.*\n)+)", text, re.M)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def told_columns(text: str) -> set[tuple[str, str, bool]]:
    """The columns that a section tells: name, type, whether it may be null."""
    return {
        (name, kind, null == "yes")
        for names, kind, null, *_ in rows_of(text, "column")
        for name in re.findall(r"`(\w+)`", names)
    }


@pytest.mark.parametrize("table", TABLES)
def test_columns_are_those_of_the_database(app: Flask, table: str) -> None:
    found = {tuple(row) for row in db.session.execute(sa.text(COLUMNS), {"name": table})}

    assert told_columns(SHARED) | told_columns(SECTIONS[table]) == found


@pytest.mark.parametrize("table", TABLES)
def test_constraints_and_indexes_are_those_of_the_database(app: Flask, table: str) -> None:
    found = set(db.session.scalars(sa.text(NAMES), {"name": table}))

    assert set(re.findall(r"`((?:ck|fk|uq|ix)_\w+)`", SECTIONS[table])) == found


def test_there_is_no_other_table(app: Flask) -> None:
    tables = set(sa.inspect(db.session.connection()).get_table_names(schema="public"))

    assert tables == {*TABLES, "alembic_version"}


def test_state_and_report_give_the_state_of_the_table(app: Flask) -> None:
    pipeline = make_pipeline()
    table = rows_of(SECTIONS["runs"], "stands")
    assert [row[0] for row in table] == ["no row", *RunStatus]
    told, found = {}, {}
    for stands, *becomes in table:
        for arrives, state in zip(RunStatus, becomes, strict=True):
            name = f"{stands}, {arrives}"
            reports = [arrives] if stands == "no row" else [RunStatus(stands), arrives]
            for status in reports:
                record_runs(records=[RunRecord(pipeline_id=pipeline.id, external_run_id=name, status=status)])
            told[name] = state
            found[name] = find_run(pipeline.id, name).status.value

    assert found == told
