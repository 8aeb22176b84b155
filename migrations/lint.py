"""``python -m migrations.lint``: would a migration lock a large table for long? By squawk, one migration after another.

What squawk is not to ask for, and why, stands in ``squawk.toml`` beside this file. A migration that has a reason to be
an exception says so in its own text: a line ``lint: allow RULE: the reason``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from alembic import command
from alembic.script import Script, ScriptDirectory
from flask import current_app

from chm_web import create_core
from chm_web.config import ROOT, Config

MIGRATIONS = ROOT / "migrations"
_SETTINGS = MIGRATIONS / "squawk.toml"
_ALLOWED = re.compile(r"^\s*(?:# )?lint: allow ([a-z-]+): \S.*$", re.MULTILINE)


def main() -> int:
    """Look at all migrations; gives the exit code."""
    problems = find_problems()
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


def find_problems(directory: Path = MIGRATIONS) -> list[str]:
    """Give what squawk has found in each migration of a directory, one text a migration."""
    # Nothing is connected to: the SQL is written, not run.
    config = Config(database_url="postgresql+psycopg://nobody@/nothing", redis_url="redis://", secret_key="-" * 32)
    with create_core(config).app_context():
        scripts = list(ScriptDirectory(str(directory)).walk_revisions())[::-1]
        sql = {script.path: _sql_of(script, directory) for script in scripts}
    return list(_lint(sql))


def _sql_of(script: Script, directory: Path) -> str:
    migrate: Any = current_app.extensions["migrate"].migrate
    settings = migrate.get_config(str(directory))
    settings.output_buffer = StringIO()
    command.upgrade(settings, f"{script.down_revision or 'base'}:{script.revision}", sql=True)
    return str(settings.output_buffer.getvalue())


def _lint(sql: dict[str, str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        for path, statements in sql.items():
            name = Path(path).name
            file = Path(directory, name).with_suffix(".sql")
            file.write_text(statements, encoding="utf-8")
            allowed = _ALLOWED.findall(Path(path).read_text(encoding="utf-8"))
            said = _squawk(file, allowed)
            if said:
                yield said.replace(str(file), name)


def _squawk(file: Path, allowed: list[str]) -> str:
    """Give what squawk says of a file; nothing when all is well."""
    squawk = Path(sysconfig.get_path("scripts")) / "squawk"
    # What the command line excludes takes the place of what the file does.
    excluded = tomllib.loads(_SETTINGS.read_text(encoding="utf-8"))["excluded_rules"] if allowed else []
    options = [f"--config={_SETTINGS}", "--reporter=gcc", *(f"--exclude={rule}" for rule in (*excluded, *allowed))]
    done = subprocess.run([squawk, *options, file], capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    return done.stdout + done.stderr or f"{file}: squawk broke off ({done.returncode}).\n"


if __name__ == "__main__":
    sys.exit(main())
