"""Signing in and out, and what one may change about oneself."""

from __future__ import annotations

from collections.abc import Mapping

from flask import make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from chm_web.access import sessions, sign_in
from chm_web.access.oidc import NotAllowed, OidcRefused, ProviderUnavailable
from chm_web.access.permissions import Permission
from chm_web.access.sessions import Method, SignedIn, signed_in
from chm_web.access.sign_in import SignInRefused, TooManyAttempts, own_page
from chm_web.services.exceptions import Conflict, Invalid
from chm_web.web.blueprints import PageBlueprint

blueprint = PageBlueprint("account", __name__)

_STATUS_OF: dict[type[SignInRefused], int] = {
    TooManyAttempts: 429,
    NotAllowed: 403,
    ProviderUnavailable: 503,
    OidcRefused: 400,
}


def refuse(err: SignInRefused, *, target: str | None = None, name: str = "") -> ResponseReturnValue:
    """Show the sign-in page with why nobody was signed in. ``name``: what was given as one."""
    page = render_template("account/sign_in.html", target=target, name=name, problem=str(err))
    response = make_response(page, _STATUS_OF.get(type(err), 422))
    if isinstance(err, TooManyAttempts):
        response.headers["Retry-After"] = str(err.retry_after)
    return response


@blueprint.get("/sign-in", allow=Permission.PUBLIC)
def sign_in_page() -> ResponseReturnValue:
    """Show the form to sign in with; whoever is signed in goes on. Open to anyone."""
    target = own_page(request.args.get("next"))
    if signed_in() is not None:
        return redirect(target or url_for("overview.index"), code=303)
    return render_template("account/sign_in.html", target=target, name="", problem=None)


@blueprint.post("/sign-in", allow=Permission.PUBLIC, endpoint="sign_in")
def sign_in_with_password() -> ResponseReturnValue:
    """Sign a local user in and lead to the page asked for. Open to anyone; limited by name and address."""
    target = own_page(request.form.get("next"))
    name = request.form.get("name", "").strip()
    try:
        sign_in.with_password(name=name, password=request.form.get("password", ""))
    except SignInRefused as err:
        return refuse(err, target=target, name=name)
    return redirect(target or url_for("overview.index"), code=303)


@blueprint.get("/sign-in/link/<secret>", allow=Permission.PUBLIC)
def link_page(secret: str) -> ResponseReturnValue:
    """Ask whether to sign in by a link: what only looks at links ahead must not use them up. Open to anyone."""
    user = sessions.users().find_by_link(secret)
    page = render_template("account/link.html", user=user, secret=secret)
    return make_response(page, 200 if user else 404)


@blueprint.post("/sign-in/link/<secret>", allow=Permission.PUBLIC)
def use_link(secret: str) -> ResponseReturnValue:
    """Sign in by a link, once. Open to anyone."""
    try:
        sign_in.with_link(secret)
    except SignInRefused as err:
        return refuse(err)
    return redirect(url_for("overview.index"), code=303)


@blueprint.post("/sign-out", allow=Permission.READ)
def sign_out() -> ResponseReturnValue:
    """End the session at hand. For whoever is signed in, and has one."""
    user = _own_session()
    sessions.sign_out()
    sign_in.log_sign_out(user)
    return redirect(url_for("account.sign_in_page"), code=303)


@blueprint.get("/profile", allow=Permission.READ)
def profile() -> str:
    """Show who one is and what one may, with theme, time zone and password. For whoever is signed in."""
    return _profile_page(changed=request.args.get("changed"))


@blueprint.post("/profile/password", allow=Permission.READ)
def change_password() -> ResponseReturnValue:
    """Change one's own password; one's other sessions end. For local users who are signed in."""
    user = signed_in()
    assert user is not None  # noqa: S101 - the guard lets nobody else in
    issues = {}
    if user.method is not Method.LOCAL:
        issues["current"] = "You sign in elsewhere: change your password there."
    elif request.form.get("new", "") != request.form.get("again", ""):
        issues["again"] = "The two are not the same."
    else:
        issues = _change_password(user.name)
    if issues:
        return make_response(_profile_page(issues=issues), 422)
    sessions.sign_in(user)
    return redirect(url_for("account.profile", changed="password"), code=303)


@blueprint.post("/profile/sign-out-everywhere", allow=Permission.READ)
def sign_out_everywhere() -> ResponseReturnValue:
    """End all sessions of oneself, this one too. For whoever is signed in, and has one."""
    user = _own_session()
    sessions.users().end_sessions(name=user.kept_as, by=user.kept_as)
    sessions.sign_out()
    return redirect(url_for("account.sign_in_page"), code=303)


def _profile_page(*, issues: Mapping[str, str] | None = None, changed: str | None = None) -> str:
    shortest = sessions.users().min_password_length
    return render_template("account/profile.html", issues=issues or {}, changed=changed, shortest=shortest)


def _own_session() -> SignedIn:
    """Give who is signed in by a session.

    Raises:
        Conflict: the proxy signs them in, at every request anew: we could end nothing.
    """
    user = signed_in()
    assert user is not None  # noqa: S101 - the guard lets nobody else in
    if user.method is Method.PROXY:
        raise Conflict("You are signed in by the proxy before CHM. Sign out there.")
    return user


def _change_password(name: str) -> dict[str, str]:
    """Change a local user's password; gives what is wrong, by field."""
    try:
        sign_in.check_password(name=name, password=request.form.get("current", ""))
        sessions.users().set_password(name=name, password=request.form.get("new", ""), by=name)
    except SignInRefused as err:
        return {"current": str(err) if isinstance(err, TooManyAttempts) else "This is not your password."}
    except Invalid as err:
        return {"new": err.details[0].issue}
    return {}
