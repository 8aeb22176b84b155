"""What may be done, and the bundles in which people and services hold it."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Permission(enum.StrEnum):
    """What a route asks of whoever uses it."""

    PUBLIC = "public"
    """Nothing: anyone who reaches the address."""
    READ = "read"
    """See clients, pipelines, runs, rules and ingestions."""
    REPORT = "report"
    """Report runs by their platform's ids: idempotent, and all that a pipeline's own machine needs."""
    OPERATE = "operate"
    """Change pipelines and alert rules, ingest, record runs by hand."""
    ADMINISTER = "administer"
    """Change clients: whose data there is at all."""


class Role(enum.StrEnum):
    """What a person may do, from least to most."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


ROLES: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.REPORT, Permission.OPERATE}),
    Role.ADMIN: frozenset(Permission) - {Permission.PUBLIC},
}


class Scope(enum.StrEnum):
    """What an API token may do."""

    READ = "read"
    WRITE = "write"
    INGEST = "ingest"


SCOPES: Mapping[Scope, frozenset[Permission]] = {
    Scope.READ: frozenset({Permission.READ}),
    Scope.WRITE: frozenset(Permission) - {Permission.PUBLIC},
    Scope.INGEST: frozenset({Permission.REPORT}),
}


def scopes_with(permission: Permission) -> list[Scope]:
    """Give the scopes whose tokens hold ``permission``, in the order in which to name them to people."""
    return [scope for scope, held in SCOPES.items() if permission in held]


def roles_with(permission: Permission) -> list[Role]:
    """Give the roles that hold ``permission``, from least to most."""
    return [role for role, held in ROLES.items() if permission in held]
