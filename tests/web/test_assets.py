"""The packages' web assets."""

from __future__ import annotations

from pathlib import Path

import pytest

from chm_web import assets


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose path has a space, with packages as npm would leave them and an npm that only counts."""
    root = tmp_path / "check out"
    for source in assets.FILES.values():
        file = root / "node_modules" / source
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    (root / "package-lock.json").write_text("{}")
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text('#!/bin/sh\necho "$@" >> npm-calls\necho "CA $NODE_EXTRA_CA_CERTS" >> npm-calls\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent), prepend=":")
    monkeypatch.setattr(assets, "ROOT", root)
    monkeypatch.setattr(assets, "VENDOR", root / "static" / "vendor")
    monkeypatch.setattr(assets, "_NODE_MODULES", root / "node_modules")
    monkeypatch.setattr(assets, "_LOCK", root / "package-lock.json")
    monkeypatch.setattr(assets, "_STAMP", root / "static" / "vendor" / ".installed")
    return root


def calls(root: Path) -> list[str]:
    """What npm was called with."""
    return (root / "npm-calls").read_text().splitlines()


def test_install_copies_every_wanted_file(elsewhere: Path) -> None:
    assert assets.missing() == list(assets.FILES)

    assert assets.install() is True

    assert assets.missing() == []
    assert (elsewhere / "static/vendor/icons/LICENSE").read_text() == "@tabler/icons/LICENSE"


def test_install_runs_no_package_scripts(elsewhere: Path) -> None:
    assets.install()

    assert calls(elsewhere)[0].startswith("ci --ignore-scripts")


def test_second_install_does_nothing(elsewhere: Path) -> None:
    assets.install()
    before = calls(elsewhere)

    assert assets.install() is False
    assert calls(elsewhere) == before


def test_changed_lock_file_is_installed_again(elsewhere: Path) -> None:
    assets.install()
    (elsewhere / "package-lock.json").write_text('{"changed": true}')

    assert assets.install() is True


def test_deleted_file_is_installed_again(elsewhere: Path) -> None:
    assets.install()
    (elsewhere / "static/vendor/htmx.min.js").unlink()

    assert assets.install() is True
    assert assets.missing() == []


def test_system_certificates_are_given_to_npm(elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "certificates.crt"
    bundle.touch()
    monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)
    monkeypatch.setattr(assets, "_SYSTEM_CA_BUNDLE", bundle)

    assets.install()

    assert calls(elsewhere)[1] == f"CA {bundle}"


def test_failing_npm_is_told(elsewhere: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bin" / "npm").write_text("#!/bin/sh\nexit 7\n")

    assert assets.main() == 1
    assert "npm ci ended with status 7" in capsys.readouterr().err
