"""Takes secrets out of what partners send, before it is stored, logged or shown.

Redaction is by the name of a field (``password``, ``api_key``, ...) and by the shape of a value (bearer tokens,
JSON web tokens, private keys, cloud access keys, passwords in URLs). What looks like a secret goes; a word too much
is the smaller loss.
"""

from __future__ import annotations

import re
from typing import Any

from ahocorasick_rs import AhoCorasick, Implementation

REDACTED = "[redacted]"

_SENSITIVE_NAME = re.compile(
    r"passw(or)?d|passphrase|^pwd$|_pwd$|secret|token|api[-_]?key|apikey|access[-_]?key|private[-_]?key|"
    r"authorization|credential|cookie|session[-_]?id|connection[-_]?string|^dsn$|_dsn$|signature$|^auth$",
    re.IGNORECASE,
)
# Names that speak of tokens and keys without holding one.
_HARMLESS_NAME = re.compile(
    r"tokens?[-_]?(count|type|usage|used|limit|expir)|(input|output|total|max)[-_]?tokens?$|"
    r"(prompt|completion|cached|reasoning)[-_]?tokens$",
    re.IGNORECASE,
)

# Each pattern starts only where a word does, or at a fixed text, and bounds what it spans: the time stays linear in
# the length of a text that somebody else wrote.
# What ends a name: quotes of JSON, which are escaped where JSON stands within JSON.
_IS = r"\\{0,8}[\"']?\s{0,8}(?:=>|=|:)\s{0,8}"
_QUOTED = (
    r"\"(?:[^\"\\]|\\[\s\S])*\"|'(?:[^'\\]|\\[\s\S])*'|"
    r"(?P<escape>\\{1,8})(?P<quote>[\"'])[\s\S]{0,2000}?(?P=escape)(?P=quote)|\\{0,8}[\"'][^\r\n]*"
)
# A value that is redacted already stays as it is: redacting twice is redacting once.
_NAMED_IN_TEXT = (
    r"(?<![\w.-])(?P<name>[\"']?[\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret(?:[-_]?key)?|token|api[-_]?key|"
    r"access[-_]?key|private[-_]?key|accountkey|sharedaccesskey|credentials?|signature|session[-_]?id)"
    rf"{_IS})(?P<value>\[redacted\][^\s,;&\"')\]}}]*|{_QUOTED}|[^\s,;&\"')\]}}]+)"
)
# Headers whose value is a secret whatever it looks like: one word behind a known scheme, else up to the line's end.
_HEADER = rf"(?P<name>(?:authorization|cookies?){_IS}"
_SCHEME = r"(?:bearer|basic|token|apikey)\s{1,8}"
_SCHEME_IN_TEXT = rf"{_HEADER}{_SCHEME})[^\s,;\"')}}]+"
_HEADER_IN_TEXT = (
    rf"{_HEADER})(?!{_SCHEME}\[redacted\])"
    rf"(?:\[redacted\](?=\s{{0,8}}(?:[,}})\]\r\n]|\Z))|{_QUOTED}|[^\s][^\r\n]*)"
)

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
            r"(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
            re.S,
        ),
        REDACTED,
    ),
    (re.compile(_SCHEME_IN_TEXT, re.IGNORECASE), rf"\g<name>{REDACTED}"),
    (re.compile(_HEADER_IN_TEXT, re.IGNORECASE), rf"\g<name>{REDACTED}"),
    (re.compile(r"(?<=://)([^\s:/@]{0,256}):[^\s/]{1,512}@"), rf"\1:{REDACTED}@"),
    (
        re.compile(r"\b((?:bearer|basic|token)\s+)(?:(?=\S{0,200}\d)[\w.~+/=-]{8,}|[\w.~+/=-]{20,})", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"), REDACTED),
    (re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"), REDACTED),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,})"), REDACTED),
    (re.compile(r"\bxox[abposr]-[A-Za-z0-9-]{8,}"), REDACTED),
    (re.compile(r"\b(?:sk|pk|rk)[-_](?:live|test|proj|ant)[-_][A-Za-z0-9_-]{8,}"), REDACTED),
    (re.compile(r"\bAIza[A-Za-z0-9_-]{30,}"), REDACTED),
    (re.compile(r"(/sign-in/link/)[A-Za-z0-9_-]{20,}"), rf"\1{REDACTED}"),
    (re.compile(r"(/ping/)[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"), rf"\1{REDACTED}"),
    # Tokens of our own API (chm_web.access.tokens).
    (re.compile(r"\bchm_[A-Za-z0-9_-]{40,}"), REDACTED),
    # Addresses to send messages to: whoever has one may post (Slack's, and those made like them).
    (re.compile(r"(https?://hooks\.[^\s/?#]{1,256})/[^\s\"'<>]+", re.IGNORECASE), rf"\1/{REDACTED}"),
    (re.compile(r"([?&;]sig=)[^&\s\"']+", re.IGNORECASE), rf"\1{REDACTED}"),
    (re.compile(_NAMED_IN_TEXT, re.IGNORECASE), rf"\g<name>{REDACTED}"),
)

# What every sensitive name and every shape holds, in lower case: one pass over the text decides for nearly all of them.
_SUSPECT_WORDS = (
    *("passw", "passphrase", "pwd", "secret", "token", "key", "auth", "credential", "cookie", "session", "dsn"),
    *("connection", "signature", "sig=", "@", "bearer", "basic", "eyj", "akia", "asia", "abia", "acca", "aiza"),
    *(
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "chm_",
        "/sign-in/",
        "/ping/",
        "://hooks.",
        "xox",
    ),
    # As long as the shape has them: "sk_" alone stands in every task_id.
    *(f"{kind}{dash}{of}" for kind in ("sk", "pk", "rk") for dash in "-_" for of in ("live", "test", "proj", "ant")),
)
_find_suspect_words = AhoCorasick(_SUSPECT_WORDS, implementation=Implementation.DFA).find_matches_as_indexes


# Secrets that we hold ourselves: they are found whatever they look like.
_known: set[str] = set()
_SHORTEST_KNOWN = 8


def remember_secret(secret: str | None) -> None:
    """Hide this secret of our own wherever it is echoed from now on. Very short ones would hide too much."""
    if secret and len(secret) >= _SHORTEST_KNOWN:
        _known.add(secret)


def is_suspect(text: str) -> bool:
    """Tell quickly whether ``text`` may hold a secret. False is certain, True is not."""
    # A plain loop: any() over a generator takes half as long again, and this is asked of every payload.
    for secret in _known:
        if secret in text:
            return True
    try:
        return bool(_find_suspect_words(text.lower()))
    except UnicodeEncodeError:
        # Half a surrogate pair: no text to the library, but one to the patterns.
        return True


def is_sensitive_name(name: str) -> bool:
    """Tell whether a field of this name holds a secret whatever its value looks like."""
    return _SENSITIVE_NAME.search(name) is not None and _HARMLESS_NAME.search(name) is None


def redact_text(text: str) -> str:
    """Give ``text`` with everything that looks like a secret replaced by ``[redacted]``."""
    if is_suspect(text):
        for secret in _known:
            text = text.replace(secret, REDACTED)
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
    return text


def redact_value(name: str, value: Any) -> Any:
    """Give what may be kept of the field ``name``: nothing of a sensitive one, texts without secrets of others."""
    if is_sensitive_name(name) and value not in (None, "", True, False):
        return REDACTED
    return redact_text(value) if isinstance(value, str) else value


_URL = re.compile(r"(https?://[^/?#\s]+)[/?#]\S+", re.IGNORECASE)


def redact_address(address: str) -> str:
    """Give what may be told of an address to send messages to: of a URL the host alone.

    Whoever has a webhook's address may post there, and where in it the secret stands is known to its maker alone.
    """
    return _URL.sub(rf"\1/{REDACTED}", address)
