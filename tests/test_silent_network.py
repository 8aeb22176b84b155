"""What each session of the database is told, so that a network that swallows everything does not go unnoticed.

That it is noticed is seen by machines of their own (tests/ingestion/test_apart.py), where those can be had.
"""

from __future__ import annotations

import sqlalchemy as sa
from flask import Flask

from chm_web.extensions import db

OF_THE_SERVER = "SELECT name FROM pg_settings WHERE name LIKE 'tcp%' AND source = 'client' ORDER BY name"


def test_both_sides_of_a_session_ask_whether_the_other_is_still_there(committed_app: Flask) -> None:
    with db.engine.connect() as connection:
        ours = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
        theirs = connection.scalars(sa.text(OF_THE_SERVER)).all()

    # The system's own answer to silence takes two hours.
    assert int(ours["keepalives_idle"]) + int(ours["keepalives_interval"]) * int(ours["keepalives_count"]) <= 30
    assert int(ours["tcp_user_timeout"]) <= 30_000
    names = ["tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout"]
    assert theirs == names
