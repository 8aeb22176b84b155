"""What a broken program sends, or somebody who means harm: as bytes, since some of it is no text."""

from __future__ import annotations

from uuid import UUID

# Taken for markup by a browser, each would call it: what calls nothing cannot be told from a text.
MARK = "chmfuzz()"
ELSEWHERE = "evil.example"
INJECTED = "X-Injected"
_PRODUCT = (7919, 7907)
PRODUCT = str(_PRODUCT[0] * _PRODUCT[1])
"""What a template makes of the values that hold a calculation, if it takes them for its own."""

MARKUP = (
    f"<script>{MARK}</script>",
    f"</title></textarea></script><script>{MARK}</script>",
    f'"><img src=x onerror={MARK}>',
    f"'><svg/onload={MARK}>",
    f"<a href=javascript:{MARK}>here</a>",
)
FORMULAS = (f'=HYPERLINK("http://{ELSEWHERE}";"{MARK}")', f"@SUM({MARK})", f"+{MARK}", f"\t={MARK}", f" -{MARK}")

_TEXTS = (
    *MARKUP,
    *FORMULAS,
    f'" onmouseover="{MARK}" x="',
    f"' onmouseover='{MARK}' x='",
    f"javascript:{MARK}",
    f"{{{{{_PRODUCT[0]}*{_PRODUCT[1]}}}}}",
    f"{{% print({_PRODUCT[0]}*{_PRODUCT[1]}) %}}${{{_PRODUCT[0]}*{_PRODUCT[1]}}}#{{{_PRODUCT[0]}*{_PRODUCT[1]}}}",
    "{0.__class__.__init__.__globals__} %(password)s %s%n",
    # of a database
    "' OR '1'='1' --",
    "'; DROP TABLE runs; --",
    "\\' \\\\ %_%",
    '"$1"; $$',
    # of addresses and files
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    f"//{ELSEWHERE}/",
    f"/\\{ELSEWHERE}",
    f"\t//{ELSEWHERE}",
    f"https://{ELSEWHERE}/",
    "http://[::1",
    "http://127.0.0.1:9/",
    # of headers
    f"a\r\n{INJECTED}: 1\r\n\r\nb",
    f"\r\nSet-Cookie: {INJECTED}=1",
    # numbers
    *(
        "-1",
        "0",
        "-0",
        "9" * 25,
        "9" * 5_000,
        "1e999",
        "NaN",
        "-Infinity",
        "1,5",
        "1_000",
        "0x10",
        "٣",
        "²",
        "2147483648",
    ),
    *("9223372036854775808", "1.7976931348623157e308"),
    # moments
    *("0001-01-01", "9999-12-31T23:59:59.999999", "2026-02-30", "2026-11-01T00:00:00+23:59", "+275760-09-13T00:00:00Z"),
    *("2026-11-28T23:59:60Z", "0001-01-01T00:00:00+23:00", "1969-12-31", "2026-W48-6", "20261128T000000"),
    # ids
    *("not-an-id", "{00000000-0000-0000-0000-000000000000}", "urn:uuid:00000000-0000-0000-0000-000000000000"),
    *("00000000-0000-0000-0000-00000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "０" * 32),
    # letters
    "\u202eevil\u202c \u05e2\u05d1\u05e8\u05d9\u05ea",
    "Z" + "\u0301" * 60,
    "\u200b\u200d\ufeff\u2028\u2029\u0085",
    "\U0001f469\u200d\U0001f52c\U0010ffff\ufffe\uffff",
    "İıſß",
    # texts of a kind
    *("", " ", "\t\n", "\x00", "a\x00b", "\x1b[2J\x07", "x" * 100_000, "<" * 20_000, "on", "true", "null", "[]", "{}"),
    *('{"$gt": ""}', '["a"]', "__class__", "a=b&c=d;e", "*", "%", "%zz%00%", "&#60;script&#62;"),
)

_NO_TEXTS = (b"\xed\xa0\x80", b"a\xff\xfe\xc3\x28", b"\xc0\xaf..\xc0\xaf", b"\xf8\x88\x80\x80\x80", b"%ff\xff")

HOSTILE = (*(text.encode() for text in _TEXTS), *_NO_TEXTS)

NAMES = (
    b"",
    b"endpoint",
    b"_external",
    b"_method",
    b"_scheme",
    b"_anchor",
    b"self",
    b"csrf_token",
    b"csrf_token[]",
    b"a[b]",
)
"""Of fields that no form has: some of them mean something to a framework."""


def hostile_values(ids: tuple[UUID, ...]) -> tuple[bytes, ...]:
    """Everything above, and the ids of rows that there are."""
    return (*HOSTILE, *(str(row_id).encode() for row_id in ids))
