"""``chm sources``: what runs are read from."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import with_appcontext

from chm_web.config import Config
from chm_web.ingestion.checks import check_source
from chm_web.ingestion.client import SourceError
from chm_web.ingestion.queue import list_sources
from chm_web.ingestion.sources import Source
from chm_web.services.exceptions import ServiceError

_NONE = "No source is configured. Set CHM_SOURCES_FILE, or CHM_PARTNER_API_BASE_URL (see docs/sources.md)."


@click.group()
def sources() -> None:
    """The sources that runs are read from: list and try them."""


@sources.command(name="list")
@with_appcontext
def list_() -> None:
    """List the configured sources, a line each; no secrets."""
    found = list_sources()
    if not found:
        click.echo(_NONE, err=True)
    for source in found:
        click.echo("\t".join((source.name, source.kind, source.address, *_facts(source))))


@sources.command()
@click.argument("names", nargs=-1)
@with_appcontext
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


def _facts(source: Source) -> list[str]:
    facts = [f"for {', '.join(source.platforms)}", f"of {source.client}" if source.client else "of all clients"]
    if source.interval:
        facts.append(f"every {source.interval} s")
    if source.paused:
        facts.append("paused")
    return facts
