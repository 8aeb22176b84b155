"""``chm db grant-reader``: the database role that Grafana, Metabase and other tools read as."""

from __future__ import annotations

import os
from pathlib import Path

import click
from flask.cli import with_appcontext

from chm_web.commands.actor import command_line_actor
from chm_web.commands.explained import explained
from chm_web.services import reader
from chm_web.services.exceptions import NotWritable
from chm_web.services.schema import check_migrations

PASSWORD_VARIABLE = "CHM_READER_PASSWORD"  # noqa: S105 - the name of a variable


@click.command(name="grant-reader")
@click.option("--role", default=reader.READER, show_default=True, help="The role's name.")
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar=f"{PASSWORD_VARIABLE}_FILE",
    help=f"Where its password stands (or {PASSWORD_VARIABLE}). Default: a new role's is made up and printed once.",
)
@click.option("--new-password", is_flag=True, help="Make up a new password for a role that is there.")
@click.option("--with-error-texts", is_flag=True, help="Let it read the runs' error texts, too.")
@click.option(
    "--statement-timeout",
    type=click.IntRange(1, 3600),
    default=reader.STATEMENT_TIMEOUT_SECONDS,
    show_default=True,
    help="Seconds that a query of it may take.",
)
@click.option("--revoke", is_flag=True, help="Take its rights away and drop it.")
@click.option("--print-sql", is_flag=True, help="Print what would be done as SQL, for a database administrator.")
@with_appcontext
@explained
def grant_reader(
    *,
    role: str,
    password_file: Path | None,
    new_password: bool,
    with_error_texts: bool,
    statement_timeout: int,
    revoke: bool,
    print_sql: bool,
) -> None:
    """Make or update the role that dashboards read as: it may read the schema "reporting" and nothing else.

    A password that is made up is printed alone on standard output. Run this again after every upgrade: what is new
    becomes readable, the password stays, and what is asked for with options holds anew.
    """
    try:
        check_migrations()
        if revoke:
            _revoke(role, print_sql)
            return
        password = _password(password_file)
        if print_sql:
            script = reader.grant_script(
                role=role,
                password=password,
                with_error_texts=with_error_texts,
                statement_timeout_seconds=statement_timeout,
            )
            click.echo(script, nl=False)
            return
        granted = reader.grant_reader(
            role=role,
            password=password,
            new_password=new_password,
            with_error_texts=with_error_texts,
            statement_timeout_seconds=statement_timeout,
            by=command_line_actor(),
        )
        _tell(role, granted, with_error_texts)
    except NotWritable as err:
        hint = (
            "Give a database administrator what this prints: chm db grant-reader --print-sql (with the same options)."
        )
        raise click.ClickException(f"{err.message}\n{hint}") from err


def _password(file: Path | None) -> str | None:
    value = os.environ.get(PASSWORD_VARIABLE)
    if file is None:
        return value or None
    if value:
        raise click.UsageError(f"{PASSWORD_VARIABLE} and a password file are both given. Keep one of them.")
    try:
        return file.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as err:
        raise click.UsageError(f"The password file {file} cannot be read.") from err


def _revoke(role: str, print_sql: bool) -> None:
    if print_sql:
        click.echo(reader.revoke_script(role=role), nl=False)
        return
    reader.revoke_reader(role=role, by=command_line_actor())
    click.echo(f"The role {role} is gone.", err=True)


def _tell(role: str, granted: reader.Granted, with_error_texts: bool) -> None:
    texts = "with" if with_error_texts else "without"
    did = "is made" if granted.is_new else "is up to date"
    click.echo(f'The role {role} {did}: it may read the schema "reporting", {texts} error texts.', err=True)
    for item in granted.left_open:
        click.echo(f"As everybody may, it can also {item}", err=True)
    if granted.made_up_password:
        click.echo("Its password, which cannot be shown again:", err=True)
        click.echo(granted.made_up_password)
