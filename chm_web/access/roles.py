"""Which role somebody has who signs in elsewhere: by what is said of them there (groups, roles)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from chm_web.access.permissions import Role
from chm_web.config import ConfigError

EVERYBODY = "*"
"""Stands for whatever is said of somebody, or nothing."""

_LONGEST_NAME = 100


@dataclass(frozen=True)
class RoleMap:
    """What gives which role, from least to most."""

    givers: tuple[tuple[Role, frozenset[str]], ...]

    @classmethod
    def parse(cls, variable: str, text: str) -> RoleMap:
        """Read ``admin=chm-admins, operator=chm-ops, viewer=*``; a role may stand there several times.

        Where what gives a role holds commas, semicolons separate: ``admin=cn=ops,ou=it; viewer=*``.

        Raises:
            ConfigError: it is not of this form. The message names ``variable``.
        """
        found: dict[Role, set[str]] = {}
        for part in re.split(";" if ";" in text else ",", text):
            if not part.strip():
                continue
            name, _, giver = (side.strip() for side in part.partition("="))
            if name not in list(Role) or not giver:
                raise ConfigError(
                    f"{variable} must be of the form admin=chm-admins, operator=chm-ops, viewer=*, "
                    f"with the roles {', '.join(Role)}: {part.strip()[:40]!r} is not."
                )
            found.setdefault(Role(name), set()).add(giver)
        if not found:
            raise ConfigError(f"{variable} gives nobody a role. Use for example admin=chm-admins, viewer=*.")
        return cls(tuple((role, frozenset(found[role])) for role in Role if role in found))

    def role_of(self, said: Iterable[str]) -> Role | None:
        """Give the greatest role that anything said of somebody gives; None when nothing does."""
        about = {*said, EVERYBODY}
        return next((role for role, givers in reversed(self.givers) if givers & about), None)


def usable_name(text: object) -> str | None:
    """Give the name by which somebody from elsewhere is known here; None when it cannot be one.

    It may be that of a local user or look like a token's: changes are signed with where it comes from before it.
    """
    name = text.strip() if isinstance(text, str) else ""
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        return None
    return name
