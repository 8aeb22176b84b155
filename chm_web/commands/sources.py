"""``chm sources``: what runs are read from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
from flask import current_app
from flask.cli import with_appcontext

from chm_web.commands.explained import explained
from chm_web.config import Config
from chm_web.ingestion.checks import check_source
from chm_web.ingestion.client import SourceError
from chm_web.ingestion.queue import list_sources, read_signs, rhythms_of
from chm_web.ingestion.sources import Source
from chm_web.services.exceptions import ServiceError, Unavailable

_NONE = "No source is configured. Set CHM_SOURCES_FILE, or CHM_PARTNER_API_BASE_URL (see docs/sources.md)."


@click.group()
def sources() -> None:
    """The sources that runs are read from: list and try them."""


@sources.command(name="list")
@with_appcontext
def list_() -> None:
    """List the configured sources, a line each; no secrets. Of one that is read less often since it fails, say so."""
    found = list_sources()
    if not found:
        click.echo(_NONE, err=True)
    slowed = _slowed()
    for source in found:
        click.echo("\t".join((source.name, source.kind, source.address, *_facts(source), *slowed.get(source.name, ()))))


@sources.command()
@click.argument("names", nargs=-1)
@with_appcontext
@explained
def check(names: tuple[str, ...]) -> None:
    """Try each source, or those of these NAMES: its address, its credentials, a first page. Records nothing."""
    found = list_sources()
    unknown = [name for name in names if name not in {source.name for source in found}]
    if unknown:
        raise click.ClickException(f"There is no source {unknown[0]!r}.")
    if not found:
        raise click.ClickException(_NONE)
    tried = [_check(source) for source in found if not names or source.name in names]
    if not all(tried):
        raise SystemExit(1)


def _check(source: Source) -> bool:
    config: Config = current_app.config["CHM"]
    try:
        said = check_source(source, config)
    except (SourceError, ServiceError) as err:
        click.echo(f"{source.name}: FAILED. {err}")
        return False
    click.echo(f"{source.name}: ok. {said}{' It is paused.' if source.paused else ''}")
    return True


def _slowed() -> dict[str, list[str]]:
    """Say of each source that is slowed down how, and when it is tried next."""
    config: Config = current_app.config["CHM"]
    now, every = datetime.now(UTC), timedelta(seconds=config.ingest_every_seconds)
    try:
        signs = read_signs()
    except Unavailable as err:
        click.echo(f"Whether a source is read less often since it fails is not known. {err.message}", err=True)
        return {}
    return {
        name: [rhythm.slowed, f"next attempt {_at(rhythm.next_at)}"]
        for name, rhythm in rhythms_of(signs, now=now, every=every).items()
        if rhythm.slowed
    }


def _at(moment: datetime | None) -> str:
    return f"at {moment:%Y-%m-%d %H:%M} UTC" if moment else "when the schedule runs"


def _facts(source: Source) -> list[str]:
    facts = [f"for {', '.join(source.platforms)}", f"of {source.client}" if source.client else "of all clients"]
    if source.interval:
        facts.append(f"every {source.interval} s")
    if source.paused:
        facts.append("paused")
    return facts
