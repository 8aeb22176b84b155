"""``/healthz`` and ``/readyz``, for whatever watches the process. Open to anyone: they tell no secrets."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, current_app, jsonify
from sqlalchemy.exc import SQLAlchemyError

from chm_web.access.permissions import Permission
from chm_web.ingestion import queue
from chm_web.services import schema
from chm_web.services.exceptions import ServiceError
from chm_web.web.blueprints import PageBlueprint

blueprint = PageBlueprint("probes", __name__)


@blueprint.get("/healthz", allow=Permission.PUBLIC)
def healthz() -> Response:
    """Say that the process answers. Looks at nothing else: a restart would not mend a database. Open to anyone."""
    return jsonify(status="ok")


@blueprint.get("/readyz", allow=Permission.PUBLIC)
def readyz() -> tuple[Response, int]:
    """Say whether everything that CHM needs is there: 200, or 503 with what is not. Open to anyone."""
    checks = {
        name: _try(check)
        for name, check in (
            ("database", schema.check_database),
            ("migrations", schema.check_migrations),
            ("redis", queue.ping),
            ("worker", queue.check_workers),
        )
    }
    ready = all(problem is None for problem in checks.values())
    answer = {name: problem or "ok" for name, problem in checks.items()}
    return jsonify(status="ok" if ready else "unavailable", checks=answer), 200 if ready else 503


def _try(check: Callable[[], None]) -> str | None:
    try:
        check()
    except ServiceError as err:
        return err.message
    except SQLAlchemyError as err:
        # Addresses and names of the database stay in the log.
        current_app.logger.warning("readiness: %s", type(err).__name__)
        return "The database does not answer."
    return None
