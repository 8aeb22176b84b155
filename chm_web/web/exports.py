"""Lists as CSV: streamed, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from flask import Response, stream_with_context

from chm_web.services.transactions import end_reading
from chm_web.web.formats import iso

# A spreadsheet takes a cell that begins with one of these for a formula, and would run what a partner has sent us.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_ROWS_A_CHUNK = 200


def csv_response(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """Stream ``rows`` as a file to download, ``name`` without its ending; times are RFC 3339 in UTC.

    The first row is read before the answer begins, so that what cannot be read is told as an error and not as a file
    that ends early. No transaction stays open while the other side takes its time.
    """
    chunks = _chunks(header, rows)
    first = next(chunks)
    response = Response(stream_with_context(_chain(first, chunks)), mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    response.headers["Cache-Control"] = "no-store"
    return response


def cell(value: Any) -> str:
    """Write one value: text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    # Spreadsheets look past the space that a cell begins with.
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _chunks(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    # Without this mark Excel takes UTF-8 for the code page of its machine.
    buffer.write("\ufeff")
    writer.writerow(header)
    for number, row in enumerate(rows, start=1):
        writer.writerow([cell(value) for value in row])
        if number % _ROWS_A_CHUNK == 0:
            end_reading()
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    end_reading()
    yield buffer.getvalue()
