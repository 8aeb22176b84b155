"""The kind of blueprint that pages are made of."""

from __future__ import annotations

from flask import Blueprint

from chm_web.access.guard import Guarded


class PageBlueprint(Guarded, Blueprint):  # type: ignore[misc]  # a route takes one argument more
    """A blueprint each of whose routes says who may use it."""
