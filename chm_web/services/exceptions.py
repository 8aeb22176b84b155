"""What can go wrong in the domain. No HTTP here: ``chm_web.errors`` renders these once for every surface."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldIssue:
    """One thing that is wrong with one field, in words for the person who sent it."""

    field: str
    issue: str


class ServiceError(Exception):
    """The operation was refused. ``message`` says why; ``details`` names the fields concerned."""

    def __init__(self, message: str, details: tuple[FieldIssue, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class NotFound(ServiceError):
    """The thing asked for does not exist."""


class Conflict(ServiceError):
    """The operation clashes with what is there already."""


class Stale(ServiceError):
    """The thing is not as the caller saw it."""


class Invalid(ServiceError):
    """A value cannot be accepted."""


class Unavailable(ServiceError):
    """Something this operation needs does not answer just now; trying again later is right."""


class NotWritable(ServiceError):
    """What must be written to (the database, a file) is there but takes no writes, and waiting will not mend that."""
