"""``chm doctor``: looks at everything that an installation needs, and says what is wrong and what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime

import click
from sqlalchemy.exc import SQLAlchemyError

from chm_web import create_app
from chm_web.commands.doctor_files import diagnose_files
from chm_web.commands.explained import first_line
from chm_web.config import LOOPBACK_HOSTS, Config, ConfigError
from chm_web.extensions import db
from chm_web.ingestion import queue
from chm_web.ingestion.problems import ingestion_problems
from chm_web.services.diagnosis import DOCTOR, Finding, Level, diagnose_database
from chm_web.services.exceptions import ServiceError
from chm_web.services.schema import check_migrations

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, for programs.")
def doctor(as_json: bool) -> None:
    """Look at everything that CHM needs, and say what is wrong and what to do. Changes nothing.

    Ends with 1 when something keeps CHM from working, else with 0, also with warnings.
    """
    findings = []
    for finding in examine(os.environ):
        findings.append(finding)
        if not as_json:
            _print(finding)
    is_well = all(finding.level is not Level.FAIL for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": is_well, "checks": [asdict(finding) for finding in findings]}, indent=1))
    if not is_well:
        raise SystemExit(1)


def examine(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at the installation that ``environ`` describes. What rests on something broken is left out."""
    try:
        config = Config.from_env(environ)
        app = create_app(config, session_name=DOCTOR)
    except ConfigError as err:
        yield Finding("configuration", Level.FAIL, str(err), "Mend it and run this again: nothing else was looked at.")
        return
    yield _configuration(config)
    database = diagnose_database(config.database_url)
    yield from database
    with app.app_context():
        if all(finding.level is not Level.FAIL for finding in database):
            yield _migrations()
            db.engine.dispose()
        redis = queue.diagnose_redis()
        yield redis
        if redis.level is not Level.FAIL:
            yield from _ingestion()
    yield from diagnose_files(config, environ)


def _configuration(config: Config) -> Finding:
    elsewhere = [host for host in config.allowed_hosts if host not in LOOPBACK_HOSTS]
    if elsewhere and not config.behind_tls:
        message = f"CHM is reached as {elsewhere[0]} without TLS: passwords and sessions can be read on the way."
        remedy = "Put a proxy that ends TLS before CHM and set CHM_BEHIND_TLS=yes."
        return Finding("configuration", Level.WARN, message, remedy)
    return Finding("configuration", Level.OK, "All CHM_* variables can be read.")


def _migrations() -> Finding:
    try:
        check_migrations()
    except ServiceError as err:
        return Finding("migrations", Level.FAIL, err.message, "Make a backup first.")
    except SQLAlchemyError as err:
        return Finding("migrations", Level.FAIL, first_line(err), "See the database's log.")
    return Finding("migrations", Level.OK, "The schema is the newest.")


def _ingestion() -> Iterator[Finding]:
    """Tell of workers, the schedule and the sources what every page's banner tells."""
    if not queue.list_sources():
        message = "No source is configured: CHM knows only the runs that are reported to it."
        remedy = "Set CHM_SOURCES_FILE or CHM_PARTNER_API_BASE_URL if there is one to read."
        yield Finding("ingestion", Level.WARN, message, remedy)
        return
    problems = ingestion_problems(now=datetime.now(UTC))
    for problem in problems:
        since = f" since {problem.since:%Y-%m-%d %H:%M} UTC" if problem.since else ""
        yield Finding("ingestion", Level.FAIL, f"{problem.what}{since}.", problem.advice)
    if not problems:
        yield Finding("ingestion", Level.OK, "A worker is alive, the schedule runs, and no source is behind.")


def _print(finding: Finding) -> None:
    line = click.style(f"{finding.level:4}", fg=_COLOURS[finding.level])
    remedy = f" {finding.remedy}" if finding.remedy else ""
    click.echo(f"{line}  {finding.check:13}  {finding.message}{remedy}")
