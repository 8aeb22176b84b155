"""What can be seen of the demo's history at one moment."""

from datetime import datetime

from chm_web.demo.fleet import Pipeline
from chm_web.demo.history import Run, plans_between, seen_at, to_ms


def runs_between(pipeline: Pipeline, start: datetime, end: datetime, now: datetime) -> list[Run]:
    """The runs scheduled in [start, end) as they are seen at now, oldest first. All times have a zone."""
    moment = to_ms(now)
    plans = plans_between(pipeline, to_ms(start), min(to_ms(end), moment + 1))
    return [run for plan in plans if (run := seen_at(pipeline, plan, moment)) is not None]
