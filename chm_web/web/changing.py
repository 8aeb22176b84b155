"""What changing a client and a pipeline have in common: saving the form, enabling, disabling once it is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from flask import flash, redirect, render_template, request, url_for
from marshmallow import Schema
from werkzeug.wrappers import Response

from chm_web.access.guard import actor
from chm_web.models import Client, Pipeline
from chm_web.services.versions import version_of
from chm_web.web import forms

T = TypeVar("T", Client, Pipeline)

NAMED = 5
"""Of several that are to be disabled, so many are named, and the rest counted."""


@dataclass(frozen=True)
class Changeable(Generic[T]):
    """A kind of thing that is changed by a form. ``what`` is its word, and the stem of its endpoints' names.

    ``get`` and ``update`` are its services, called with its id by the name ``what`` and ``_id``. ``show`` makes the
    page with its form: of the thing, the version that the form carries, the values, what is wrong with them, and what
    somebody else has made of them meanwhile. ``question``: what is to be asked of values before they are saved.
    """

    what: str
    schema: Schema
    get: Callable[..., T]
    update: Callable[..., T]
    show: Callable[[T, str, dict[str, Any], forms.Issues, Mapping[str, forms.Theirs]], str]
    question: Callable[[dict[str, Any], T], forms.Issues] = lambda values, thing: {}

    def key(self, thing_id: UUID) -> dict[str, Any]:
        """Give the id as services and routes call it."""
        return {f"{self.what}_id": thing_id}

    def values_of(self, thing: T) -> dict[str, Any]:
        """Give what its form shows of a thing."""
        return {name: getattr(thing, name) for name in self.schema.load_fields}

    def url(self, action: str, thing_id: UUID) -> str:
        """Give the address of one of the thing's pages or actions."""
        return url_for(f"{self.what}s.{action}", **self.key(thing_id))


def edit(kind: Changeable[T], thing_id: UUID) -> str:
    """Show the form of a thing as it is."""
    thing = kind.get(**kind.key(thing_id))
    return kind.show(thing, version_of(thing), kind.values_of(thing), {}, {})


def save(kind: Changeable[T], thing_id: UUID) -> Response | tuple[str, int]:
    """Change a thing by the form that was sent and lead to its page; else show the form with what is wrong."""
    values, issues = forms.read(kind.schema, request.form)
    sent = request.form.get("version")
    if not issues:
        issues = kind.question(values, kind.get(**kind.key(thing_id)))
    if not issues:
        issues = forms.attempt(
            lambda: kind.update(**kind.key(thing_id), changes=values, if_version=sent, updated_by=actor().name)
        )
    if issues:
        thing = kind.get(**kind.key(thing_id))
        version = forms.version_to_show(sent, version_of(thing), issues)
        theirs = forms.differences(issues, values, kind.values_of(thing))
        return kind.show(thing, version, forms.shown(request.form), issues, theirs), 422
    flash("Saved.")
    return redirect(kind.url("show", thing_id), code=303)


def enable(kind: Changeable[T], thing_id: UUID) -> Response:
    """Enable a thing and lead to its page."""
    return _set_active(kind, thing_id, is_active=True)


def disable(kind: Changeable[T], thing_id: UUID) -> Response | str:
    """Disable a thing and lead to its page; ask first unless it is confirmed."""
    if is_confirmed():
        return _set_active(kind, thing_id, is_active=False)
    thing = kind.get(**kind.key(thing_id))
    return ask_to_disable(
        f"Disable {thing.name}", kind.what, action=kind.url("disable", thing_id), back=kind.url("show", thing_id)
    )


def is_confirmed() -> bool:
    """Whether the form at hand says that what it asks for is meant: the answer of a page that asks does."""
    return request.form.get("confirmed") == "yes"


def ask_to_disable(
    title: str,
    what: str,
    *,
    action: str,
    back: str,
    kept: tuple[tuple[str, object], ...] = (),
    names: Sequence[str] = (),
) -> str:
    """Show a page that says what disabling means and asks whether it is meant.

    Args:
        title: the question without its mark.
        what: client, pipeline or pipelines.
        action: where the answer is sent.
        back: where to go when it is not meant.
        kept: what else the answer sends.
        names: of what is disabled, where the question does not say; the first few are shown.
    """
    shown = [*names[:NAMED], *([f"and {len(names) - NAMED} more"] if len(names) > NAMED else [])]
    return render_template(
        "forms/disable.html", title=title, what=what, action=action, back=back, kept=kept, names=shown
    )


def _set_active(kind: Changeable[T], thing_id: UUID, *, is_active: bool) -> Response:
    kind.update(**kind.key(thing_id), changes={"is_active": is_active}, updated_by=actor().name)
    flash(f"The {kind.what} is {'enabled' if is_active else 'disabled'}.")
    return redirect(kind.url("show", thing_id), code=303)
