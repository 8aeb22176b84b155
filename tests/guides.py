"""Runs what our guides say, as they say it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def blocks(guide: Path, language: str) -> list[str]:
    """The guide's blocks of code in a language, in order."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", guide.read_text(encoding="utf-8"), re.DOTALL | re.M)
    return found


def block(guide: Path, language: str, beginning: str) -> str:
    """The guide's one block of code that begins so."""
    found = [text for text in blocks(guide, language) if text.startswith(beginning)]
    assert len(found) == 1, f"{guide.name} has {len(found)} blocks of {language} that begin with {beginning!r}"
    return found[0]


def run(command: list[str], directory: Path, **environment: str) -> str:
    """What a command says; fails when it fails."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "PATH": programs, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
