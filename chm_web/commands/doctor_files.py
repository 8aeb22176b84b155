"""What ``chm doctor`` looks at on this machine: files of credentials and secrets, and the disk they are on."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from chm_web.access.tokens import TokenFile
from chm_web.access.users import UserFile
from chm_web.config import Config
from chm_web.ingestion.sources_config import secret_files
from chm_web.services.diagnosis import Finding, Level
from chm_web.services.exceptions import ServiceError

FREE_MUST = 200 * 1024**2
FREE_SHOULD = 2 * 1024**3
# Looked at by themselves, or without a secret in them.
_OTHERS = "CHM_USERS_FILE", "CHM_TOKENS_FILE", "CHM_SOURCES_FILE"


def diagnose_files(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Judge the files of users, tokens and secrets, and the space where CHM writes."""
    yield _users(config)
    yield _tokens(config)
    yield _secrets(config, environ)
    directory = next(parent for parent in config.users_file.parents if parent.exists())
    usage = shutil.disk_usage(directory)
    yield judge_space(directory, free=usage.free)


def _users(config: Config) -> Finding:
    elsewhere = config.oidc is not None or config.proxy_sign_in is not None
    try:
        users = UserFile(config.users_file).list()
    except ServiceError as err:
        return _unreadable("users", config.users_file, err)
    if not users and not elsewhere:
        return Finding("users", Level.WARN, "Nobody can sign in yet.", "Add an admin: chm users add NAME --role admin")
    local = f"{len(users)} local" if users else "no local"
    told = f"{local} user{'' if len(users) == 1 else 's'}{', and sign-in elsewhere' if elsewhere else ''}."
    return _private("users", config.users_file, told[0].upper() + told[1:])


def _tokens(config: Config) -> Finding:
    try:
        count = len(TokenFile(config.tokens_file).list())
    except ServiceError as err:
        return _unreadable("tokens", config.tokens_file, err)
    return _private("tokens", config.tokens_file, f"{count} API token{'' if count == 1 else 's'}.")


def _secrets(config: Config, environ: Mapping[str, str]) -> Finding:
    given = {name: Path(value) for name, value in environ.items() if name.startswith("CHM_") and name.endswith("_FILE")}
    files = {f"{name} ({path})": path for name, path in given.items() if name not in _OTHERS}
    if config.sources_file is not None:
        files |= {str(path): path for path in secret_files(config.sources_file)}
    open_to_all = [name for name, path in files.items() if _others_may(path)]
    if open_to_all:
        message = f"Everybody on this machine may read {', '.join(sorted(open_to_all))}."
        return Finding("secrets", Level.WARN, message, "chmod o-rwx these files, and let CHM's account own them.")
    return Finding("secrets", Level.OK, "No file with a secret is open to everybody.")


def _private(check: str, path: Path, told: str) -> Finding:
    if not path.exists():
        return Finding(check, Level.OK, told)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding(check, Level.WARN, f"Others than its owner have rights to {path}.", f"chmod 600 {path}")
    return Finding(check, Level.OK, told)


def _unreadable(check: str, path: Path, err: ServiceError) -> Finding:
    account = f"user id {os.geteuid()}"
    remedy = f"See that {path} is whole and that this account ({account}) may read it, or restore it from a backup."
    return Finding(check, Level.FAIL, err.message, remedy)


def _others_may(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & stat.S_IRWXO)


def judge_space(directory: Path, *, free: int) -> Finding:
    """Judge the space that is left on the disk of ``directory``, in bytes."""
    told = f"{free / 1024**3:,.1f} GiB are free at {directory}."
    if free >= FREE_SHOULD:
        return Finding("disk", Level.OK, told)
    return Finding("disk", Level.WARN if free >= FREE_MUST else Level.FAIL, told, "Make room on this disk.")
