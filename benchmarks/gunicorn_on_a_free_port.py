"""gunicorn on a port that was free, which it writes to a file: ``python -m ... PORT_FILE WORKERS THREADS``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gunicorn.app.wsgiapp import WSGIApplication  # type: ignore[import-untyped, unused-ignore]

from benchmarks.serving import write_port


def main() -> None:
    """Serve until SIGTERM."""
    port_file, workers, threads = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

    def when_ready(server: Any) -> None:
        write_port(port_file, server.LISTENERS[0].sock.getsockname()[1])

    sys.argv = ["gunicorn", "wsgi:app", "--bind", "127.0.0.1:0", "--workers", workers, "--threads", threads]
    app = WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn")
    app.cfg.set("when_ready", when_ready)
    app.run()


if __name__ == "__main__":
    main()
