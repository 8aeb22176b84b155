"""``chm tokens``: who may use the REST API. Works on the tokens' file alone and needs no database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from chm_web.access.permissions import Scope
from chm_web.access.tokens import TokenFile
from chm_web.commands.actor import command_line_actor
from chm_web.commands.credentials import credentials_file
from chm_web.commands.explained import explained
from chm_web.config import Config

_SCOPES_SAID = "read: see everything; write: everything; ingest: only report runs."


@click.group()
@credentials_file("CHM_TOKENS_FILE", Config.tokens_file)
@click.pass_context
def tokens(context: click.Context, path: Path) -> None:
    """API tokens: make, list and revoke them. A running app heeds every change at once."""
    context.obj = TokenFile(path)


@tokens.command()
@click.argument("name")
@click.option("--scope", type=click.Choice([scope.value for scope in Scope]), required=True, help=_SCOPES_SAID)
@click.option("--days", type=click.IntRange(1, 3650), help="It expires after so many days (default: never).")
@click.pass_obj
@explained
def create(file: TokenFile, name: str, scope: str, days: int | None) -> None:
    """Make a token called NAME and print it, alone, on standard output. It cannot be shown again."""
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    secret = file.create(name=name, scope=Scope(scope), expires_at=expires_at, by=command_line_actor())
    until = f" until {expires_at:%Y-%m-%d}" if expires_at else ""
    click.echo(
        f"Token {name}, scope {scope}, valid{until or ' until it is revoked'}. Keep it: only its hash is", err=True
    )
    click.echo("stored. Send it as: Authorization: Bearer TOKEN", err=True)
    click.echo(secret)


@tokens.command(name="list")
@click.pass_obj
@explained
def list_(file: TokenFile) -> None:
    """List the tokens: name, scope, when made, until when valid."""
    found = file.list()
    if not found:
        click.echo("There are no tokens. Make one: chm tokens create NAME --scope read", err=True)
    now = datetime.now(UTC)
    for token in found:
        until = f"until {token.expires_at:%Y-%m-%d}" if token.expires_at else "no expiry"
        state = until if token.is_valid_at(now) else f"expired {token.expires_at:%Y-%m-%d}"
        click.echo(f"{token.name}\t{token.scope}\tmade {token.created_at:%Y-%m-%d}\t{state}")


@tokens.command()
@click.argument("name")
@click.pass_obj
@explained
def revoke(file: TokenFile, name: str) -> None:
    """Revoke the token called NAME: it opens nothing any more."""
    file.revoke(name=name, by=command_line_actor())
    click.echo(f"Token {name} is revoked.", err=True)
