"""``python -m dashboards``: write Grafana's dashboards and alert rules, or check them against the code."""

from __future__ import annotations

from pathlib import Path

import click

from dashboards.grafana.boards import DEFAULT_CHM_URL
from dashboards.grafana.files import FOLDER, outdated, write


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is not as the code makes it.")
@click.option("--chm-url", default=DEFAULT_CHM_URL, show_default=True, help="Where the links to CHM lead.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=FOLDER,
    help="Grafana's folder. Default: docker/grafana.",
)
def main(*, check: bool, chm_url: str, output: Path) -> None:
    """Build Grafana's dashboards from the queries of the contract."""
    changed = outdated(output, chm_url) if check else write(output, chm_url)
    for name in changed:
        click.echo(f"{'outdated' if check else 'written'}: {name}")
    if check and changed:
        raise SystemExit(1)


main(prog_name="python -m dashboards")
