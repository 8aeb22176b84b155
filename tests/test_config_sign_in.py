"""The configuration of signing in at an OIDC provider and by a proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from chm_web import create_app
from chm_web.config import Config, ConfigError, OidcSettings, ProxySignInSettings
from tests.test_config import read, refused

OIDC = {
    "CHM_ALLOWED_HOSTS": "chm.example",
    "CHM_PUBLIC_URL": "https://chm.example/",
    "CHM_OIDC_ISSUER": "https://id.example/realms/chm/",
    "CHM_OIDC_CLIENT_ID": "chm",
    "CHM_OIDC_ROLES": "admin=chm-admins, viewer=*",
}
SECRET = "s" * 32
PROXY = {
    "CHM_TRUSTED_PROXIES": "10.0.0.5",
    "CHM_PROXY_AUTH_USER_HEADER": "X-Forwarded-User",
    "CHM_PROXY_AUTH_SECRET": SECRET,
}


def without(settings: dict[str, str], name: str, **changed: str) -> dict[str, str]:
    """The settings without one of them."""
    return {key: value for key, value in {**settings, **changed}.items() if key != name}


# -- an OIDC provider ---------------------------------------------------------------------------------------------


def test_provider_is_read_with_defaults() -> None:
    config = read(**OIDC)

    assert config.public_url == "https://chm.example"
    assert config.oidc == OidcSettings(
        issuer="https://id.example/realms/chm", client_id="chm", roles="admin=chm-admins, viewer=*"
    )


def test_every_setting_of_the_provider_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("hunter2\n", encoding="utf-8")

    config = read(
        **OIDC,
        CHM_OIDC_CLIENT_SECRET_FILE=str(path),
        CHM_OIDC_NAME="Tallowmere",
        CHM_OIDC_SCOPES="openid, email groups",
        CHM_OIDC_ROLE_CLAIM="realm_access.roles",
        CHM_OIDC_NAME_CLAIM="email",
    )

    assert config.oidc == OidcSettings(
        issuer="https://id.example/realms/chm",
        client_id="chm",
        client_secret="hunter2",
        name="Tallowmere",
        scopes=("openid", "email", "groups"),
        roles="admin=chm-admins, viewer=*",
        role_claim="realm_access.roles",
        name_claim="email",
    )


@pytest.mark.parametrize("name", ["CHM_OIDC_CLIENT_ID", "CHM_OIDC_ROLES", "CHM_PUBLIC_URL"])
def test_what_the_provider_needs_is_named(name: str) -> None:
    assert refused(**without(OIDC, name)).startswith(f"{name} is not set.")


@pytest.mark.parametrize("name", ["CHM_OIDC_CLIENT_ID", "CHM_OIDC_CLIENT_SECRET", "CHM_OIDC_CLIENT_SECRET_FILE"])
def test_setting_of_no_provider_is_refused(name: str) -> None:
    assert refused(**{name: "hunter2"}) == (
        f"{name} is set, but CHM_OIDC_ISSUER is not. Set that too, or leave both unset."
    )


@pytest.mark.parametrize("issuer", ["http://id.example", "id.example", "ftp://id.example", "https://me:pw@id.example"])
def test_provider_that_could_be_anybody_is_refused(issuer: str) -> None:
    assert refused(**without(OIDC, "", CHM_OIDC_ISSUER=issuer)).startswith("CHM_OIDC_ISSUER must")


@pytest.mark.parametrize("issuer", ["http://localhost:8080/realms/chm", "http://127.0.0.1:8080", "http://[::1]:8080"])
def test_provider_on_this_machine_needs_no_tls(issuer: str) -> None:
    config = read(**without(OIDC, "", CHM_OIDC_ISSUER=issuer))

    assert config.oidc is not None
    assert config.oidc.issuer == issuer


def test_public_address_that_can_be_overheard_is_refused_where_a_provider_sends_people_back() -> None:
    http = {"CHM_PUBLIC_URL": "http://chm.example"}

    assert refused(**{**OIDC, **http}).startswith("CHM_PUBLIC_URL must start with https://")
    assert read(CHM_ALLOWED_HOSTS="chm.example", **http).public_url == "http://chm.example"


@pytest.mark.parametrize("url", ["http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000"])
def test_public_address_on_this_machine_needs_no_tls(url: str) -> None:
    config = read(**{**OIDC, "CHM_ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]", "CHM_PUBLIC_URL": url})

    assert (config.public_url, config.oidc is None) == (url, False)


def test_scopes_without_openid_are_refused() -> None:
    assert refused(**OIDC, CHM_OIDC_SCOPES="profile").startswith("CHM_OIDC_SCOPES must name openid")


@pytest.mark.parametrize(
    "url", ["chm.example", "https://chm.example/app", "https://chm.example?x", "https://evil.example"]
)
def test_public_address_that_cannot_be_reached_is_refused(url: str) -> None:
    assert refused(**without(OIDC, "", CHM_PUBLIC_URL=url)).startswith("CHM_PUBLIC_URL")


def test_public_address_may_have_a_port_and_be_of_ipv6() -> None:
    assert read(CHM_PUBLIC_URL="http://[::1]:8000").public_url == "http://[::1]:8000"


def test_roles_that_cannot_be_read_are_refused_by_the_app(config: Config) -> None:
    with pytest.raises(ConfigError, match="CHM_OIDC_ROLES must be of the form"):
        create_app(read(**without(OIDC, "", CHM_OIDC_ROLES="owner=x")))


# -- a proxy ------------------------------------------------------------------------------------------------------


def test_proxy_is_read_with_defaults() -> None:
    assert read(**PROXY).proxy_sign_in == ProxySignInSettings(
        user_header="X-Forwarded-User", secret=SECRET, role="viewer"
    )


def test_roles_by_a_header_of_the_proxy_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET, encoding="utf-8")

    config = read(
        **without(PROXY, "CHM_PROXY_AUTH_SECRET"),
        CHM_PROXY_AUTH_SECRET_FILE=str(path),
        CHM_PROXY_AUTH_ROLE_HEADER="X-Forwarded-Groups",
        CHM_PROXY_AUTH_ROLE_SEPARATOR=";",
        CHM_PROXY_AUTH_ROLES="admin=chm-admins",
    )

    assert config.proxy_sign_in == ProxySignInSettings(
        user_header="X-Forwarded-User",
        secret=SECRET,
        role_header="X-Forwarded-Groups",
        role_separator=";",
        roles="admin=chm-admins",
    )


@pytest.mark.parametrize("name", ["CHM_TRUSTED_PROXIES", "CHM_PROXY_AUTH_SECRET"])
def test_header_that_anybody_could_send_is_refused(name: str) -> None:
    assert refused(**without(PROXY, name)).startswith(f"{name} is not set")


@pytest.mark.parametrize("secret", ["s" * 31, "ü" * 32, "s" * 32 + "\tx"])
def test_weak_secret_of_the_proxy_is_refused_without_showing_it(secret: str) -> None:
    message = refused(**without(PROXY, "", CHM_PROXY_AUTH_SECRET=secret))

    assert message.startswith("CHM_PROXY_AUTH_SECRET needs at least 32 characters")
    assert secret not in message


@pytest.mark.parametrize("name", ["CHM_PROXY_AUTH_USER_HEADER", "CHM_PROXY_AUTH_ROLE_HEADER"])
@pytest.mark.parametrize("value", ["X Forwarded", "X_Forwarded_User", "X-User:", "ü"])
def test_name_of_a_header_that_is_none_is_refused(name: str, value: str) -> None:
    assert refused(**without(PROXY, "", **{name: value})).startswith(f"{name} must be the name of a header")


@pytest.mark.parametrize(
    "more",
    [
        {"CHM_PROXY_AUTH_ROLE_HEADER": "X-Forwarded-Groups"},
        {"CHM_PROXY_AUTH_ROLES": "viewer=*"},
        {"CHM_PROXY_AUTH_ROLE_HEADER": "X-G", "CHM_PROXY_AUTH_ROLES": "viewer=*", "CHM_PROXY_AUTH_ROLE": "admin"},
        {"CHM_PROXY_AUTH_ROLE_SEPARATOR": ";"},
        {
            "CHM_PROXY_AUTH_ROLE_HEADER": "X-G",
            "CHM_PROXY_AUTH_ROLES": "viewer=*",
            "CHM_PROXY_AUTH_ROLE_SEPARATOR": "|",
        },
    ],
)
def test_roles_of_the_proxy_that_do_not_fit_together_are_refused(more: dict[str, str]) -> None:
    assert refused(**PROXY, **more).startswith("CHM_PROXY_AUTH_ROLE")


def test_secret_of_no_proxy_is_refused() -> None:
    assert refused(CHM_PROXY_AUTH_SECRET=SECRET).startswith("CHM_PROXY_AUTH_SECRET is set, but")


# -- secrets ------------------------------------------------------------------------------------------------------


def test_secrets_of_sign_in_count_as_secrets_and_are_not_shown() -> None:
    config = read(**OIDC, **PROXY, CHM_OIDC_CLIENT_SECRET="hunter2 hunter2")

    assert {"hunter2 hunter2", SECRET} <= set(config.secrets())
    assert "hunter2" not in repr(config)
    assert SECRET not in repr(config)
