"""Who is at the command line."""

from __future__ import annotations

import os
import pwd


def command_line_actor() -> str:
    """Give who runs this command, as changes are signed: ``cli:`` and the account's name, or its number if it has none.

    The account that the process runs as, which no variable of its environment can change.
    """
    user_id = os.getuid()
    try:
        return f"cli:{pwd.getpwuid(user_id).pw_name}"
    except KeyError:
        return f"cli:{user_id}"
