"""Addresses that pages name often, made as ``url_for`` makes them but once.

A list has a hundred links to single clients, pipelines and runs, and each call of ``url_for`` costs as much as the rest
of a row's cell. Every page has thirty to others and to static files, which were a tenth of what a short one takes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any
from uuid import UUID

from flask import Flask, g, request, url_for

from chm_web.web.static_files import changed_at

_ANY = UUID(int=0)


def init_app(app: Flask) -> None:
    """Give the functions below to all templates, and a ``url_for`` that keeps what it has made."""

    @lru_cache(maxsize=1024)
    def kept(root: str, endpoint: str, filename: str | None, changed: int | None) -> str:
        # Where the app is reached under a path (``root``), that stands in the address; a changed file has another one.
        return url_for(endpoint) if filename is None else url_for(endpoint, filename=filename)

    def kept_url_for(endpoint: str, /, **values: Any) -> str:
        if not values and not endpoint.startswith("."):
            return kept(request.script_root, endpoint, None, None)
        if endpoint == "static" and values.keys() == {"filename"}:
            return kept(request.script_root, endpoint, values["filename"], changed_at(values["filename"]))
        return url_for(endpoint, **values)

    app.jinja_env.globals.update(
        url_for=kept_url_for, client_url=client_url, pipeline_url=pipeline_url, run_url=run_url
    )


def _address_of(endpoint: str, parameter: str) -> Callable[[UUID | str], str]:
    kept = f"address_{parameter}"
    values: dict[str, Any] = {parameter: _ANY}

    def address(thing_id: UUID | str) -> str:
        # Of one request alone: where the app is reached under a path, that stands in the address.
        around = g.get(kept)
        if around is None:
            before, _, after = url_for(endpoint, **values).partition(str(_ANY))
            around = (before, after)
            setattr(g, kept, around)
        return f"{around[0]}{thing_id}{around[1]}"

    return address


client_url = _address_of("clients.show", "client_id")
pipeline_url = _address_of("pipelines.show", "pipeline_id")
run_url = _address_of("runs.show", "run_id")
