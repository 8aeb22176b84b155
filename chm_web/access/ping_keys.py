"""Keys by which a cron job reports its runs: whoever has a pipeline's key may report runs of it, and nothing else.

A key is the pipeline's id, signed with ``CHM_SECRET_KEY``: nothing of it is stored, and it stays the same until that
secret changes, which ends all keys at once.
"""

from __future__ import annotations

import base64
import hashlib
from uuid import UUID

from flask import current_app
from itsdangerous import BadSignature, Signer

from chm_web.config import Config

_ID_LENGTH = 16


def ping_key(pipeline_id: UUID) -> str:
    """Give the key of a pipeline: 65 characters that need no encoding in an address. A secret, like a token."""
    name = base64.urlsafe_b64encode(pipeline_id.bytes).rstrip(b"=")
    return _signer().sign(name).decode()


def pipeline_of(key: str) -> UUID | None:
    """Give the pipeline whose key this is; None for what we have not made."""
    try:
        name = _signer().unsign(key.encode("utf-8", "replace"))
        raw = base64.urlsafe_b64decode(name + b"==")
    except (BadSignature, ValueError):
        return None
    return UUID(bytes=raw) if len(raw) == _ID_LENGTH else None


def _signer() -> Signer:
    config: Config = current_app.config["CHM"]
    return Signer(config.secret_key, salt="chm.ping", key_derivation="hmac", digest_method=hashlib.sha256)
