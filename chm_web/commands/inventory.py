"""``chm export`` and ``chm import``: the inventory as a file, for review and for many pipelines at once."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from flask.cli import with_appcontext

from chm_web.commands.actor import command_line_actor
from chm_web.commands.explained import explained, in_words
from chm_web.commands.inventory_checks import Checking
from chm_web.commands.inventory_files import BadFile, read_csv, read_yaml, write_csv, write_yaml
from chm_web.private_files import write_private
from chm_web.services.exceptions import ServiceError
from chm_web.services.inventory import apply_inventory, read_inventory
from chm_web.services.schema import check_migrations


@click.command(name="export")
@click.option("--format", "kind", type=click.Choice(["yaml", "csv"]), default="yaml", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
@click.option("--without-alert-rules", is_flag=True, help="Leave alert rules out, whose addresses may be secrets.")
@with_appcontext
@explained
def export_inventory(kind: str, output: Path | None, without_alert_rules: bool) -> None:
    """Write clients, pipelines and alert rules as YAML, or pipelines alone as CSV, in an order that stays."""
    check_migrations()
    inventory = read_inventory()
    text = write_csv(inventory) if kind == "csv" else write_yaml(inventory, with_rules=not without_alert_rules)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        # Whoever has a webhook's address may post there.
        write_private(output, text)
    except OSError as err:
        raise click.ClickException(f"{output} cannot be written: {err.strerror}.") from err


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--disable-missing", is_flag=True, help="Disable what the file leaves out (YAML alone).")
@with_appcontext
@explained
def import_inventory(file: Path, dry_run: bool, disable_missing: bool) -> None:
    """Make clients, pipelines and alert rules as FILE (.yaml or .csv) has them; all of it or nothing.

    Things are known by their names; nothing is deleted, and the same FILE again changes nothing.
    """
    is_csv = file.suffix.lower() == ".csv"
    if is_csv and disable_missing:
        raise click.UsageError("--disable-missing needs a YAML file: of CSV nobody can tell whether it is meant whole.")
    try:
        check_migrations()
        checking = Checking(str(file), read_inventory())
        text = file.read_text(encoding="utf-8")
        entries = checking.clients(read_csv(text) if is_csv else read_yaml(text))
        _refuse(checking.issues)
        changes = apply_inventory(
            entries, disable_missing=disable_missing, dry_run=dry_run, updated_by=command_line_actor()
        )
    except (OSError, UnicodeDecodeError) as err:
        raise click.ClickException(f"{file} cannot be read as UTF-8 text.") from err
    except BadFile as err:
        raise click.ClickException(f"{file}:{err}") from err
    except ServiceError as err:
        raise click.ClickException(f"{in_words(err)}\nNothing was changed.") from err
    for change in changes:
        click.echo(f"{change.action:7}  {change.what}{': ' if change.fields else ''}{', '.join(change.fields)}")
    would = "would be made" if dry_run else "made"
    click.echo(f"{len(changes)} change{'' if len(changes) == 1 else 's'} {would}.", err=True)


def _refuse(issues: list[str]) -> None:
    if issues:
        for issue in issues:
            click.echo(issue, err=True)
        click.echo("Nothing was changed.", err=True)
        sys.exit(1)
