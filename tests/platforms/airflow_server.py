"""A real Airflow, as ``make test-platforms`` installs it: started for the tests, driven by its REST API, and ended."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from chm_web.config import ROOT
from chm_web.embedded.processes import die_with_launcher
from chm_web.models import Run, RunStatus
from tests.http import free_port

INSTALLED = ROOT / ".chm-platforms"
DAGS = Path(__file__).parent / "dags"
# Ten times what it takes on an idle machine of two cores.
START_SECONDS, RUN_SECONDS, ANSWER_SECONDS, STOP_SECONDS = 600, 600, 120, 10
# A token is taken for ten seconds longer than it says.
TOKEN_SECONDS, TOKEN_LEEWAY_SECONDS = 5, 10
NAMESPACE, PUSHED = "airflow_test", "pushed_orders"
ONE_DAG_PUSHES = [
    {"scope": {}, "controls": {"emit": False}},
    {"scope": {"dag_id": PUSHED}, "controls": {"emit": True}},
]


@dataclass(frozen=True)
class AirflowServer:
    """A running Airflow. ``passwords``: of ``admin``, who drives it, and of ``chm``, who may only look."""

    address: str
    passwords: Mapping[str, str]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask its API as the admin, and give the answer's body."""
        credentials = {"username": "admin", "password": self.passwords["admin"]}
        # Anew each time: tokens are short-lived here.
        token = requests.post(f"{self.address}/auth/token", json=credentials, timeout=ANSWER_SECONDS).json()[
            "access_token"
        ]
        headers = {"Authorization": f"Bearer {token}"}
        response = requests.request(
            method,
            f"{self.address}/api/v2{path}",
            json=body,
            headers=headers,
            timeout=ANSWER_SECONDS,
            allow_redirects=False,
        )
        assert response.ok, response.text
        return response.json()

    def trigger(self, dag: str, conf: Mapping[str, Any]) -> str:
        """Have a DAG run, and give the run's id."""
        run: dict[str, Any] = self.ask("POST", f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": dict(conf)})
        return str(run["dag_run_id"])

    def clear(self, dag: str, run_id: str) -> None:
        """Have a run that has ended begin anew."""
        self.ask("POST", f"{_run_path(dag, run_id)}/clear", {"dry_run": False, "only_failed": False})

    def fail_by_hand(self, dag: str, run_id: str, note: str) -> None:
        """Mark a run failed, as an operator would."""
        self.ask("PATCH", _run_path(dag, run_id), {"state": "failed", "note": note})

    def wait_for(self, dag: str, run_id: str, *states: str) -> dict[str, Any]:
        """Wait until a run is in one of these states, and give it as Airflow tells it."""
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            run: dict[str, Any] = self.ask("GET", _run_path(dag, run_id))
            if run["state"] in states:
                return run
            assert time.monotonic() < deadline, f"{run_id} of {dag} is still {run['state']}"
            time.sleep(0.5)


def facts_of(run: Run) -> tuple[Any, ...]:
    """What is recorded of a run that has ended."""
    return run.status, run.started_at, run.finished_at, run.duration_seconds


def facts_told(told: Mapping[str, Any]) -> tuple[Any, ...]:
    """The same as Airflow tells it."""
    started, finished = (datetime.fromisoformat(told[name]) for name in ("start_date", "end_date"))
    return RunStatus(told["state"]), started, finished, told["duration"]


@contextmanager
def running_airflow(*, port: int, passwords: Mapping[str, str], lineage: Mapping[str, Any]) -> Iterator[AirflowServer]:
    """Start Airflow on an empty home and end it. ``lineage``: where the runs of ``PUSHED`` are pushed to."""
    programs, home = INSTALLED / "airflow-venv" / "bin", INSTALLED / "airflow-home"
    assert (programs / "airflow").exists(), "Airflow is not installed: run these tests by `make test-platforms`."
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    passwords_file = home / "passwords.json"
    passwords_file.write_text(json.dumps(dict(passwords)))
    server = AirflowServer(f"http://127.0.0.1:{port}", passwords)
    log = home / "standalone.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [programs / "airflow", "standalone"],
            cwd=home,
            env=_environ(programs, home, port, passwords_file, lineage),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_launcher(signal.SIGINT),  # noqa: PLW1509 - as for the embedded servers
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(server):
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, f"Airflow was not ready in time. {log.read_text()[-4000:]}"
            time.sleep(1)
        yield server
    finally:
        _stop(process)


def _environ(programs: Path, home: Path, port: int, passwords_file: Path, lineage: Mapping[str, Any]) -> dict[str, str]:
    address = f"http://127.0.0.1:{port}"
    settings = {
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_FOLDER": str(DAGS),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__PARALLELISM": "4",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,chm:viewer",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file),
        "CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__BASE_URL": address,
        "API__WORKERS": "1",
        # On a busy machine the first answer to a task takes longer than the usual five seconds: the task would fail.
        "WORKERS__EXECUTION_API_TIMEOUT": "60",
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "API_AUTH__JWT_EXPIRATION_TIME": str(TOKEN_SECONDS),
        "API_AUTH__JWT_LEEWAY": str(TOKEN_LEEWAY_SECONDS),
        "LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "OPENLINEAGE__NAMESPACE": NAMESPACE,
        "OPENLINEAGE__EMISSION_POLICY": json.dumps(ONE_DAG_PUSHES),
        "OPENLINEAGE__TRANSPORT": json.dumps(dict(lineage)),
    }
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "PYTHONUNBUFFERED": "1",
        # Proxies are not for this machine itself.
        "NO_PROXY": "127.0.0.1",
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
    }


def _is_ready(server: AirflowServer) -> bool:
    """Whether all its parts are alive and it knows the DAGs."""
    try:
        health = server.ask("GET", "/monitor/health")
        dags = server.ask("GET", "/dags")
    except (requests.RequestException, KeyError, AssertionError):
        return False
    is_healthy = all(part["status"] == "healthy" for part in health.values())
    return is_healthy and {"nightly_orders", PUSHED, "parts"} <= {dag["dag_id"] for dag in dags["dags"]}


def _stop(process: subprocess.Popen[bytes]) -> None:
    # What Ctrl-C sends: upon it Airflow ends its parts one by one.
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _run_path(dag: str, run_id: str) -> str:
    return f"/dags/{quote(dag, safe='')}/dagRuns/{quote(run_id, safe='')}"
