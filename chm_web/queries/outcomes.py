"""What became of runs over time, as SQL over the definitions of the schema ``reporting``."""

from __future__ import annotations

from sqlalchemy import TextClause, text

_KEYS = {"client": "p.client_name", "platform": "p.platform"}


def failures_over_time(*, by: str) -> TextClause:
    """Count the fleet's failures by ``client`` or ``platform`` and bucket of time, aligned to UTC.

    Parameters: ``since``, ``until``, ``bucket``. Columns: name, bucket_start, failures; only what is not zero.
    """
    return text(f"""
        SELECT {_KEYS[by]} AS name, date_bin(:bucket, r.event_at, timestamptz '2001-01-01 00:00+00') AS bucket_start,
            count(*) AS failures
        FROM reporting.runs r
        JOIN reporting.pipelines p ON p.pipeline_id = r.pipeline_id
        WHERE r.is_failed AND r.event_at >= :since AND r.event_at < :until
        GROUP BY 1, 2
    """)
