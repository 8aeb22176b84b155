"""The logs: one JSON object a line, with where it comes from, and without secrets.

A service logs to standard error. Of a command the record of changes is kept and nothing else: it speaks to people.
"""

from __future__ import annotations

import logging
import sys
import time
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import Any

import click
from flask import g, has_request_context
from pythonjsonlogger.json import JsonFormatter

from chm_web.access.origin import client_address
from chm_web.services import audit
from chm_web.services.redaction import redact_value

MACHINE_LOG = "/dev/log"
"""Where the machine's own log listens, of systemd or of syslog."""

_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"
_RENAMED = {"asctime": "time", "levelname": "level", "name": "logger"}


class _Formatter(JsonFormatter):
    converter = staticmethod(time.gmtime)

    def process_log_record(self, log_record: dict[str, Any]) -> dict[str, Any]:
        """Take out whatever looks like a secret, wherever it came from."""
        return {name: redact_value(name, value) for name, value in super().process_log_record(log_record).items()}


class _MachineLog(SysLogHandler):
    """The machine's own log; what it takes is for its administrators alone (authpriv)."""

    ident = "chm: "

    def __init__(self, address: str) -> None:
        super().__init__(address, facility=SysLogHandler.LOG_AUTHPRIV)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Keep still where nothing listens: not every machine has such a log, and hardly any container."""


class RequestFilter(logging.Filter):
    """Adds to a record what is known of the request that is being answered."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id of the request that is being answered, and whence it comes."""
        if has_request_context() and "request_id" in g:
            record.request_id = g.request_id
            record.address = client_address()
        return True


class CommandFilter(logging.Filter):
    """Adds to a record which command is at work, without its arguments: ``chm users add``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the command that is at work."""
        context = click.get_current_context(silent=True)
        if context is not None:
            record.command = context.command_path
        return True


def configure(level: str = "INFO") -> None:
    """Let every logger of this process write to standard error. For services."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter())
    handler.addFilter(RequestFilter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Of a command that is a service (chm worker): what it changes is told once.
    audit.log.handlers.clear()
    audit.log.setLevel(logging.NOTSET)


def record_changes(machine_log: str = MACHINE_LOG) -> None:
    """Let what this process changes be recorded, and log nothing else. For commands.

    It goes to standard error, where whatever has started the command keeps it. Where that is somebody's terminal it
    goes to the machine's own log instead, if there is one: nobody wants to read it there, and nothing would keep it.
    """
    at_terminal = sys.stderr.isatty()
    _record_by(_MachineLog(machine_log) if at_terminal else logging.StreamHandler(sys.stderr))


def record_changes_in(path: Path) -> None:
    """Let what this process changes from now on be recorded in a file. For a command that keeps its logs itself."""
    audit.log.handlers.clear()
    _record_by(logging.FileHandler(path, encoding="utf-8"))


def _record_by(handler: logging.Handler) -> None:
    handler.setFormatter(_formatter())
    handler.addFilter(CommandFilter())
    # Of chm run, which answers requests.
    handler.addFilter(RequestFilter())
    audit.log.addHandler(handler)
    audit.log.setLevel(logging.INFO)


def _formatter() -> _Formatter:
    return _Formatter(_FIELDS, rename_fields=_RENAMED, datefmt="%Y-%m-%dT%H:%M:%SZ")
