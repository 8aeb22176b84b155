"""The WSGI entry point: ``gunicorn wsgi:app``."""

import gc
import sys

from chm_web import create_app, logs
from chm_web.access.sign_in import prepare_first_start
from chm_web.config import Config, ConfigError
from chm_web.metrics_directory import share_figures
from chm_web.services.exceptions import ServiceError

try:
    config = Config.from_env()
    logs.configure(config.log_level)
    # Before the app imports what counts.
    share_figures()
    app = create_app(config, answers_requests=True, session_name="chm web")
    prepare_first_start(config)
except (ConfigError, ServiceError) as err:
    sys.exit(f"CHM cannot start: {err}")

# What the app is made of stays: a collection that looks through it all holds every request up for a tenth of a second.
gc.collect()
gc.freeze()
