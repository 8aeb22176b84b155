"""``python -m dashboards.metabase``: set Metabase up. A second run changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import click

from dashboards.metabase.api import Metabase, MetabaseError
from dashboards.metabase.provision import Reader, provision


def _secret(name: str) -> str:
    """The value of a variable, or of the file that ``NAME_FILE`` names."""
    file = os.environ.get(f"{name}_FILE")
    value = Path(file).read_text(encoding="utf-8").strip() if file else os.environ.get(name, "")
    if not value:
        raise click.UsageError(f"{name} is not set. Set it, or {name}_FILE to a file that holds it.")
    return value


@click.command()
@click.option("--url", envvar="METABASE_URL", required=True, help="Where Metabase answers (METABASE_URL).")
@click.option("--email", envvar="METABASE_ADMIN_EMAIL", required=True, help="Its administrator (METABASE_ADMIN_EMAIL).")
@click.option("--host", envvar="READER_HOST", required=True, help="PostgreSQL as Metabase sees it (READER_HOST).")
@click.option("--port", envvar="READER_PORT", type=int, default=5432, show_default=True, help="Its port (READER_PORT).")
@click.option("--database", envvar="READER_DATABASE", required=True, help="CHM's database (READER_DATABASE).")
@click.option("--user", default="chm_reader", show_default=True, help="The role that reads.")
@click.option("--ssl", is_flag=True, envvar="READER_SSL", help="Connect by TLS (READER_SSL).")
def main(*, url: str, email: str, host: str, port: int, database: str, user: str, ssl: bool) -> None:
    """Set Metabase up with a connection, questions and a dashboard.

    Passwords come from METABASE_ADMIN_PASSWORD and CHM_READER_PASSWORD, or from files that these names with _FILE name.
    """
    reader = Reader(
        host=host, port=port, database=database, user=user, password=_secret("CHM_READER_PASSWORD"), ssl=ssl
    )
    metabase = Metabase(url)
    try:
        if metabase.sign_in(email, _secret("METABASE_ADMIN_PASSWORD")):
            click.echo("administrator made")
        done = provision(metabase, reader)
    except MetabaseError as err:
        raise click.ClickException(str(err)) from err
    for line in done or ["everything is as it should be"]:
        click.echo(line)


if __name__ == "__main__":
    main(prog_name="python -m dashboards.metabase")
