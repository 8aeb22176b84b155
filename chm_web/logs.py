"""The log of a service: one JSON object a line on standard error, with the ids of its request, and without secrets."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from flask import g, has_request_context
from pythonjsonlogger.json import JsonFormatter

from chm_web.access.origin import client_address
from chm_web.services.redaction import redact_value

_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"
_RENAMED = {"asctime": "time", "levelname": "level", "name": "logger"}


class _Formatter(JsonFormatter):
    converter = staticmethod(time.gmtime)

    def process_log_record(self, log_record: dict[str, Any]) -> dict[str, Any]:
        """Take out whatever looks like a secret, wherever it came from."""
        return {name: redact_value(name, value) for name, value in super().process_log_record(log_record).items()}


class RequestFilter(logging.Filter):
    """Adds to a record what is known of the request that is being answered."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id of the request that is being answered, and whence it comes."""
        if has_request_context() and "request_id" in g:
            record.request_id = g.request_id
            record.address = client_address()
        return True


def configure(level: str = "INFO") -> None:
    """Let every logger of this process write to standard error. For services; commands speak to people."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(_FIELDS, rename_fields=_RENAMED, datefmt="%Y-%m-%dT%H:%M:%SZ"))
    handler.addFilter(RequestFilter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
