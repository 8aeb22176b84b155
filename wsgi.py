"""The WSGI entry point: ``gunicorn wsgi:app``."""

import sys

from chm_web import create_app
from chm_web.config import ConfigError

try:
    app = create_app()
except ConfigError as err:
    sys.exit(f"CHM cannot start: {err}")
