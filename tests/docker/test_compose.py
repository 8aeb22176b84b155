"""The composition: what can be told of it without a Docker engine."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from chm_web.commands.reader import PASSWORD_VARIABLE
from chm_web.config import ROOT

COMPOSE = ROOT / "docker-compose.yml"
TEXT = COMPOSE.read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
OURS = {"migrate", "web", "worker", "scheduler", "metabase-provision"}
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+\}")


def make_env(target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "docker/make-env", target], capture_output=True, text=True, check=False)


def read_env(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines())


def test_everything_that_belongs_to_chm_is_there() -> None:
    assert set(SERVICES) == {*OURS, "postgres", "redis", "grafana", "metabase"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_published_on_the_loopback_address_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_no_port_is_published_twice() -> None:
    published = [port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])]

    assert len(set(published)) == len(published) == 3


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_named_by_an_exact_version_and_no_registry(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")

    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)*(-[a-z]+)?", tag)
    assert "." not in image.split("/")[0]


def test_the_dockerfile_names_an_exact_version_and_no_registry() -> None:
    assert re.search(r"^ARG PYTHON=python:3\.\d+\.\d+-slim$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON}"}
    assert not re.search(r"https?://(?!127\.0\.0\.1)", DOCKERFILE)


def test_the_image_does_not_run_as_root() -> None:
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]

    assert "\nUSER chm\n" in last_stage
    assert last_stage.index("USER chm") < last_stage.index("HEALTHCHECK")


@pytest.mark.parametrize("name", SERVICES)
def test_a_secret_has_no_default(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASS|SECRET|AUTH$|DATABASE_URL|REDIS_URL", variable) and not variable.endswith("INITDB_ARGS"):
            # One without a value is passed on if it is set, and else not at all.
            assert value is None or REQUIRED.search(value), variable
    assert ":-" not in str(SERVICES[name])


def test_the_variables_of_chm_are_those_that_chm_reads() -> None:
    config = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "chm_web").glob("config*.py"))
    known = {*re.findall(r'"(CHM_\w+[A-Z])"', config), PASSWORD_VARIABLE}
    given = {key for service in SERVICES.values() for key in service.get("environment", {}) if key.startswith("CHM_")}
    given |= set(re.findall(r"\b(CHM_\w+)=", DOCKERFILE))

    assert given
    assert given <= known
    # A setting that compose does not pass on would stand in .env without a word and without effect.
    assert known - {PASSWORD_VARIABLE} <= given


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_what_it_needs_until_that_is_ready(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"], other
        else:
            assert how["condition"] == "service_completed_successfully"
            assert SERVICES[other]["restart"] == "no"


@pytest.mark.parametrize("name", ["web", "worker", "scheduler"])
def test_nothing_works_before_the_database_is_migrated(name: str) -> None:
    assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES[name]["depends_on"]["redis"] == {"condition": "service_healthy"}


@pytest.mark.parametrize("name", sorted({*OURS, "redis", "grafana"}))
def test_a_container_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_files_that_are_mounted_are_there_and_volumes_are_declared() -> None:
    declared = set(yaml.safe_load(TEXT)["volumes"])
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]

    assert {source for source in mounted if not source.startswith(".")} == declared
    assert all((ROOT / source).exists() for source in mounted if source.startswith("."))


def test_what_the_image_is_made_of_is_let_through_and_no_secret_is() -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"
    }
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for source in line.split()
        if source != "."
    }

    assert all(any(source == path or source.startswith(f"{path}/") for path in allowed) for source in copied)
    assert all((ROOT / path).exists() for path in allowed)
    assert not {".env", ".chm", ".git", "tests"} & allowed


def test_make_env_gives_every_secret_that_the_composition_asks_for(tmp_path: Path) -> None:
    made = make_env(tmp_path / "env")

    assert made.returncode == 0
    found = read_env(tmp_path / "env")
    assert set(found) == set(REQUIRED.findall(TEXT))
    secret = [value for name, value in found.items() if not name.endswith("_EMAIL")]
    assert len(set(secret)) == len(secret)
    assert all(len(value) >= 48 and re.fullmatch(r"[\w-]+", value) for value in secret)
    assert stat.S_IMODE((tmp_path / "env").stat().st_mode) == 0o600
    assert not any(value in made.stdout + made.stderr for value in secret)


def test_make_env_leaves_alone_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("MINE=1\n", encoding="utf-8")

    assert make_env(tmp_path / "env").returncode == 1
    assert (tmp_path / "env").read_text(encoding="utf-8") == "MINE=1\n"


def test_compose_itself_takes_the_file_with_made_secrets_and_not_without(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker's compose plugin is not installed")
    make_env(tmp_path / "env")
    bare = {name: value for name, value in os.environ.items() if name not in REQUIRED.findall(TEXT)}

    def config(env_file: str) -> int:
        command = [docker, "compose", "-f", str(COMPOSE), "--env-file", env_file, "config", "--quiet"]
        return subprocess.run(command, env=bare, capture_output=True, check=False).returncode

    assert config(str(tmp_path / "env")) == 0
    assert config(os.devnull) != 0
