"""The Flask extensions, made once and bound to an app by ``create_app``."""

from __future__ import annotations

from typing import Any

from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect
from htmx_flask import Htmx
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Names every constraint and index by one rule, so that migrations and error translation can rely on them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# Objects stay usable after a service's commit: a commit is the end of the operation, not of the page that shows it.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
migrate = Migrate()
csrf = CSRFProtect()
htmx = Htmx()

# A network that swallows everything is noticed within half a minute, by both sides. By themselves systems wait a
# quarter of an hour for what they have sent to be taken, and two hours until they ask whether anybody is still there:
# so long would a page hang on a database that is cut off, and so long would the rows stay locked on which a machine
# worked that went away without a word. Not much shorter either: a server that waits for a lock in the middle of a COPY
# takes nothing, and is not away. Over a unix socket none of this means anything.
_SILENCE_SECONDS = {"idle": 10, "interval": 5}
_PROBES = 2
_UNTAKEN_MILLISECONDS = 20_000


def connect_arguments(session_name: str, settings: dict[str, object]) -> dict[str, Any]:
    """Give what libpq is told for each connection to the database.

    ``settings`` are those of the session, by PostgreSQL's names.
    """
    settings = {
        **settings,
        **{f"tcp_keepalives_{name}": seconds for name, seconds in _SILENCE_SECONDS.items()},
        "tcp_keepalives_count": _PROBES,
        "tcp_user_timeout": _UNTAKEN_MILLISECONDS,
    }
    return {
        "application_name": session_name,
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        "connect_timeout": 5,
        **{f"keepalives_{name}": seconds for name, seconds in _SILENCE_SECONDS.items()},
        "keepalives_count": _PROBES,
        "tcp_user_timeout": _UNTAKEN_MILLISECONDS,
    }
