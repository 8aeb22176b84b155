"""Speaks with an OIDC provider by Authlib, and believes its id tokens only as far as they can be verified."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from requests import RequestException

from chm_web.config import OidcSettings

# Seconds to connect, and to wait for an answer: somebody sits before the browser meanwhile.
_TIMEOUT = (3.0, 10.0)
_KEPT_SECONDS = 3600.0
_LEEWAY_SECONDS = 60
# Signatures by a provider's private key alone: with a shared secret, or "none", others could sign too.
_ALGORITHMS = [f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)] + ["EdDSA", "Ed25519"]
_ADDRESSES = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class ProviderDown(Exception):
    """The provider does not answer, or not as a provider does. The message is for the log and holds no secret."""


class TokenRefused(Exception):
    """The provider gave no token, or one that cannot be believed. The message is for the log and holds no secret."""


@dataclass(frozen=True)
class Claims:
    """What a provider says of somebody."""

    values: Mapping[str, Any]

    def find(self, path: str) -> Any:
        """Give the claim at a path such as ``realm_access.roles``; None when it is not there."""
        # Claims by the name of a whole address have dots in it and are no paths.
        if path in self.values:
            return self.values[path]
        found: Any = self.values
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def texts(self, path: str) -> list[str]:
        """Give the texts of a claim that is a list of them, or one."""
        found = self.find(path)
        return [text for text in (found if isinstance(found, list) else [found]) if isinstance(text, str)]


@dataclass
class Provider:
    """One provider. What it says of itself is kept for an hour, its keys until it signs by another."""

    settings: OidcSettings
    redirect_uri: str
    _discovered: dict[str, Any] = field(init=False, default_factory=dict, repr=False)
    _keys: KeySet | None = field(init=False, default=None, repr=False)
    _kept_until: float = field(init=False, default=0.0)

    def sign_in_address(self, *, state: str, nonce: str, verifier: str) -> str:
        """Give the address at which people sign in.

        Raises:
            ProviderDown: the provider does not say.
        """
        about = self._discover()
        with self._session() as http:
            address, _ = http.create_authorization_url(
                about["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        return str(address)

    def claims(self, *, code: str, nonce: str, verifier: str, wanted: tuple[str, ...]) -> Claims:
        """Give what the provider says of whoever came back with ``code``.

        Where the id token lacks a claim of ``wanted``, the provider's user information completes it.

        Raises:
            ProviderDown: the provider does not answer, or answers nonsense.
            TokenRefused: the code is worth nothing, or its id token cannot be verified.
        """
        about = self._discover()
        try:
            with self._session() as http:
                token = http.fetch_token(
                    about["token_endpoint"], grant_type="authorization_code", code=code, code_verifier=verifier
                )
                claims = Claims(self._verified(token, nonce))
                if any(claims.find(name) is None for name in wanted) and "userinfo_endpoint" in about:
                    more = _json(http.get(about["userinfo_endpoint"]))
                    if more.get("sub") != claims.values["sub"]:
                        raise TokenRefused("the user information is of somebody else")
                    claims = Claims({**more, **claims.values})
        except AuthlibBaseError as err:
            raise TokenRefused(f"the code was not taken ({str(err.error)[:40]})") from err
        except JoseError as err:
            raise TokenRefused(f"{type(err).__name__} {getattr(err, 'claim', '')}".strip()) from err
        except (RequestException, ValueError, TypeError, KeyError, AttributeError) as err:
            raise ProviderDown(type(err).__name__) from err
        return claims

    def _verified(self, token: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """Give the claims of an id token by the provider, for us, for this very sign-in."""
        if not isinstance(token.get("id_token"), str):
            raise TokenRefused("there is no id token")
        try:
            decoded = self._decode(token["id_token"])
        except InvalidKeyIdError:
            self._keys = None
            decoded = self._decode(token["id_token"])
        options: Any = {
            "iss": {"essential": True, "value": self._discover()["issuer"]},
            "aud": {"essential": True, "value": self.settings.client_id},
        }
        about = {"nonce": nonce, "client_id": self.settings.client_id, "access_token": token.get("access_token")}
        claims = CodeIDToken(decoded.claims, decoded.header, options, about)
        claims.validate(leeway=_LEEWAY_SECONDS)
        return dict(claims)

    def _decode(self, id_token: str) -> jwt.Token:
        # Taken once: another thread may forget them meanwhile, to have them read anew.
        keys = self._keys
        if keys is None:
            with self._session() as http:
                told: Any = _json(http.get(self._discover()["jwks_uri"], withhold_token=True))
            keys = self._keys = KeySet.import_key_set(told)
        registry = JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
        return jwt.decode(id_token, keys, registry=registry)

    def _discover(self) -> dict[str, Any]:
        if time.monotonic() >= self._kept_until:
            try:
                with self._session() as http:
                    address = get_well_known_url(self.settings.issuer, external=True)
                    about = _json(http.get(address, withhold_token=True))
            except (RequestException, ValueError) as err:
                raise ProviderDown(f"discovery: {type(err).__name__}") from err
            self._check(about)
            self._discovered, self._keys = about, None
            self._kept_until = time.monotonic() + _KEPT_SECONDS
        return self._discovered

    def _check(self, about: Mapping[str, Any]) -> None:
        if str(about.get("issuer", "")).rstrip("/") != self.settings.issuer:
            raise ProviderDown("discovery: it is of another issuer than CHM_OIDC_ISSUER")
        named = [name for name in (*_ADDRESSES, "userinfo_endpoint") if name in about or name in _ADDRESSES]
        scheme = urlsplit(self.settings.issuer).scheme
        for name in named:
            if not str(about.get(name, "")).startswith((f"{scheme}://", "https://")):
                raise ProviderDown(f"discovery: there is no usable {name}")

    def _session(self) -> OAuth2Session:
        methods = self._discovered.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        method = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
        return OAuth2Session(
            client_id=self.settings.client_id,
            client_secret=self.settings.client_secret,
            token_endpoint_auth_method=method if self.settings.client_secret else "none",
            scope=" ".join(self.settings.scopes),
            redirect_uri=self.redirect_uri,
            code_challenge_method="S256",
            # The access token is used at once: how soon it expires does not matter.
            leeway=0,
            default_timeout=_TIMEOUT,
        )


def _json(answer: Any) -> dict[str, Any]:
    """Give the JSON object that ``answer`` holds.

    Raises:
        RequestException: the answer is an error, or no JSON.
        ValueError: it is no object.
    """
    answer.raise_for_status()
    body = answer.json()
    if not isinstance(body, dict):
        raise ValueError("no JSON object")
    return body
