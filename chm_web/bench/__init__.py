"""A fleet of any size with a year of runs, made up by chance and loaded by COPY: for benchmarks and load tests.

Nothing here imports the application. It writes past ``record_runs`` on purpose: five million runs shall take minutes.
"""

from chm_web.bench.fleet import Fleet, make_fleet
from chm_web.bench.history import History
from chm_web.bench.loading import NotEmpty, load

__all__ = ["Fleet", "History", "NotEmpty", "load", "make_fleet"]
