"""The files that Grafana reads: what they hold, and where they stand."""

from __future__ import annotations

from pathlib import Path

import yaml
from grafana_foundation_sdk.builders.dashboard import Dashboard as Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from chm_web.config import ROOT
from dashboards.grafana.alerts import alert_rules
from dashboards.grafana.boards import DEFAULT_CHM_URL, boards

FOLDER = ROOT / "docker" / "grafana"
_HEAD = "# Written by `python -m dashboards`. Change dashboards/grafana, not this file.\n"


def files(chm_url: str = DEFAULT_CHM_URL) -> dict[str, str]:
    """Give the text of each file by its path in Grafana's folder."""
    encoder = JSONEncoder(indent=2, sort_keys=True, ensure_ascii=False)
    texts = {
        f"dashboards/{name}.json": f"{encoder.encode(_numbered(board))}\n" for name, board in boards(chm_url).items()
    }
    rules = yaml.safe_dump(alert_rules(), sort_keys=False, allow_unicode=True, width=120)
    return {**texts, "provisioning/alerting/chm.yaml": f"{_HEAD}{rules}"}


def _numbered(builder: Builder) -> Dashboard:
    """Build a dashboard whose panels have numbers, by which links to them find them again."""
    board = builder.build()
    for number, panel in enumerate(board.panels or [], start=1):
        panel.id_val = number
    return board


def write(folder: Path = FOLDER, chm_url: str = DEFAULT_CHM_URL) -> list[str]:
    """Write the files that are not as they should be; gives their paths."""
    changed = outdated(folder, chm_url)
    for name in changed:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files(chm_url)[name], encoding="utf-8")
    return changed


def outdated(folder: Path = FOLDER, chm_url: str = DEFAULT_CHM_URL) -> list[str]:
    """Name the files that are missing or differ from what the code makes."""
    return [
        name
        for name, text in files(chm_url).items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]
