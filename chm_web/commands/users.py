"""``chm users``: who may sign in with a password. Works on the users' file alone and needs no database."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import click

from chm_web.access.permissions import Role
from chm_web.access.users import UserFile
from chm_web.commands.actor import command_line_actor
from chm_web.commands.credentials import credentials_file
from chm_web.commands.explained import explained
from chm_web.config import Config

_ROLES_SAID = "viewer: see everything; operator: also pipelines, rules, ingestion, runs; admin: also clients."
_password = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input (default: make one and print it)."
)


@click.group()
@credentials_file("CHM_USERS_FILE", Config.users_file)
@click.pass_context
def users(context: click.Context, path: Path) -> None:
    """Local users: add, list and remove them. A running app heeds every change at once."""
    context.obj = UserFile(path)


@users.command()
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help=_ROLES_SAID)
@_password
@click.pass_obj
@explained
def add(file: UserFile, name: str, role: str, password_stdin: bool) -> None:
    """Add a user called NAME."""
    password = _read_or_make(password_stdin)
    file.add(name=name, role=Role(role), password=password, by=command_line_actor())
    click.echo(f"User {name}, role {role}, is added.", err=True)
    _show(password, password_stdin)


@users.command()
@click.argument("name")
@_password
@click.pass_obj
@explained
def password(file: UserFile, name: str, password_stdin: bool) -> None:
    """Give NAME a new password. All sessions of NAME end."""
    new = _read_or_make(password_stdin)
    file.set_password(name=name, password=new, by=command_line_actor())
    click.echo(f"User {name} has a new password.", err=True)
    _show(new, password_stdin)


@users.command()
@click.argument("name")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@click.pass_obj
@explained
def role(file: UserFile, name: str, role: str) -> None:
    """Give NAME another role. All sessions of NAME end."""
    file.set_role(name=name, role=Role(role), by=command_line_actor())
    click.echo(f"User {name} is {role} now.", err=True)


@users.command()
@click.argument("name")
@click.pass_obj
@explained
def link(file: UserFile, name: str) -> None:
    """Make a link that signs NAME in, once, within a day, and print its path."""
    secret = file.make_link(name=name, by=command_line_actor())
    click.echo(f"Open this path of CHM to sign in as {name}. It works once, within a day.", err=True)
    click.echo(f"/sign-in/link/{secret}")


@users.command(name="list")
@click.pass_obj
@explained
def list_(file: UserFile) -> None:
    """List the users and their roles."""
    found = file.list()
    if not found:
        click.echo("There are no users. Add one: chm users add NAME --role admin", err=True)
    for user in found:
        click.echo(f"{user.name}\t{user.role}")


@users.command()
@click.argument("name")
@click.pass_obj
@explained
def remove(file: UserFile, name: str) -> None:
    """Remove the user NAME. All sessions of NAME end."""
    file.remove(name=name, by=command_line_actor())
    click.echo(f"User {name} is removed.", err=True)


def _read_or_make(from_stdin: bool) -> str:
    return sys.stdin.readline().rstrip("\r\n") if from_stdin else secrets.token_urlsafe(15)


def _show(password: str, is_known: bool) -> None:
    if not is_known:
        click.echo("The password, which is not shown again:", err=True)
        click.echo(password)
