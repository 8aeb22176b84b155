"""``chm api-contract``: the REST API's document as a file."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import click
import yaml

from chm_web import create_app
from chm_web.api.docs import api_document
from chm_web.config import ROOT, Config

CONTRACT = ROOT / "specs" / "001-chm-api-ingestion" / "contracts" / "openapi.yaml"

_HEAD = "# Written by `chm api-contract`: change the API, not this file.\n"


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, and every value in place: anchors are hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        """Tell that nothing is written as a reference to what stood before."""
        return True


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _write_text)


@click.command("api-contract")
@click.option("--check", is_flag=True, help="Write nothing; fail when the file differs from the API.")
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=CONTRACT,
    help="The file. Default: the contract of the repository.",
)
def api_contract(check: bool, path: Path) -> None:
    """Write the OpenAPI document of the REST API to a file. Needs no configuration and no database."""
    written = render_contract()
    if not check:
        path.write_text(written, encoding="utf-8")
        click.echo(f"Wrote {path}.")
    elif not path.is_file() or path.read_text(encoding="utf-8") != written:
        raise click.ClickException(f"{path} differs from the API. Run: chm api-contract")


def render_contract() -> str:
    """Give the document of the API as YAML, the same wherever it is made."""
    # Nothing is connected to: the document depends on the code alone.
    config = Config(
        database_url="postgresql+psycopg://localhost/none",
        redis_url="redis://localhost:6379/0",
        secret_key=secrets.token_hex(32),
    )
    document = api_document(create_app(config))
    return _HEAD + yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
