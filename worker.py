"""An RQ worker inside the app context: ``python worker.py``."""

import sys

from chm_web import create_core, logs
from chm_web.config import Config, ConfigError
from chm_web.ingestion.queue import run_worker

if __name__ == "__main__":
    try:
        config = Config.from_env()
        logs.configure(config.log_level)
        app = create_core(config, session_name="chm worker")
    except ConfigError as err:
        sys.exit(f"CHM cannot start: {err}")
    with app.app_context():
        run_worker()
