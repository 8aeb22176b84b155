"""Signing in at an OIDC provider: there, and back."""

from __future__ import annotations

from flask import abort, redirect, request, url_for
from flask.typing import ResponseReturnValue

from chm_web.access import oidc
from chm_web.access.oidc import CALLBACK_PATH, OidcRefused
from chm_web.access.permissions import Permission
from chm_web.access.sessions import signed_in
from chm_web.access.sign_in import TooManyAttempts, own_page
from chm_web.web.account import refuse
from chm_web.web.blueprints import PageBlueprint

blueprint = PageBlueprint("oidc", __name__)


@blueprint.before_request
def _only_where_configured() -> None:
    if not oidc.provider_names():
        abort(404)


@blueprint.get("/sign-in/oidc", allow=Permission.PUBLIC)
def start() -> ResponseReturnValue:
    """Send the browser to the provider; whoever is signed in goes on. Open to anyone."""
    target = own_page(request.args.get("next"))
    if signed_in() is not None:
        return redirect(target or url_for("overview.index"), code=303)
    try:
        return redirect(oidc.start(target), code=303)
    except OidcRefused as err:
        return refuse(err, target=err.target)


@blueprint.get(CALLBACK_PATH, allow=Permission.PUBLIC)
def callback() -> ResponseReturnValue:
    """Sign in whom the provider sends back, and lead to the page asked for. Open to anyone; limited by address."""
    try:
        _, target = oidc.finish(request.args)
    except TooManyAttempts as err:
        return refuse(err)
    except OidcRefused as err:
        return refuse(err, target=err.target)
    return redirect(target or url_for("overview.index"), code=303)
