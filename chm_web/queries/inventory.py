"""What tells that the inventory has changed, as SQL."""

from __future__ import annotations

from sqlalchemy import text

VERSION = text("""
    SELECT
        (SELECT (count(*), max(updated_at))::text FROM clients),
        (SELECT (count(*), max(updated_at))::text FROM pipelines),
        (SELECT (count(*), max(updated_at))::text FROM alert_rules)
""")
"""A row that differs after every change of a client, a pipeline or an alert rule: some milliseconds at 10,000."""
