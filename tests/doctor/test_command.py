"""What ``chm doctor`` prints, and how it ends."""

from __future__ import annotations

import json
import os

from click.testing import CliRunner, Result

from chm_web.commands.doctor import doctor
from tests.doctor.conftest import Environ


def run(environ: Environ, *arguments: str) -> Result:
    """Run ``chm doctor`` in this environment alone."""
    nothing: dict[str, str | None] = {name: None for name in os.environ if name.startswith("CHM_")}
    return CliRunner().invoke(doctor, arguments, env={**nothing, **environ})


def test_warnings_alone_end_with_0(environ: Environ) -> None:
    environ["CHM_ALLOWED_HOSTS"] = "chm.example"
    result = run(environ)
    assert result.exit_code == 0
    assert result.stdout.startswith("warn  configuration  CHM is reached as chm.example")


def test_a_failure_ends_with_1_and_says_what_to_do(environ: Environ) -> None:
    environ["CHM_REDIS_URL"] = "redis://127.0.0.1:9"
    result = run(environ)
    assert result.exit_code == 1
    assert "\nfail  redis          Redis cannot be used: " in result.stdout
    assert "Check that Redis runs" in result.stdout


def test_programs_get_json(environ: Environ) -> None:
    well = json.loads(run(environ, "--json").stdout)
    assert well["ok"] is True
    assert well["checks"][0] == {
        "check": "configuration",
        "level": "ok",
        "message": "All CHM_* variables can be read.",
        "remedy": "",
    }
    del environ["CHM_SECRET_KEY"]
    assert json.loads(run(environ, "--json").stdout)["ok"] is False
