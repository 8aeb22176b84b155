"""An RQ worker inside the app context: ``python worker.py``."""

from chm_web import create_app
from chm_web.ingestion.queue import run_worker

if __name__ == "__main__":
    app = create_app()
    with app.app_context():
        run_worker()
