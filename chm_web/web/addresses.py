"""The addresses of single clients, pipelines and runs, made as ``url_for`` makes them but once a request.

A list has a hundred links to such pages, and each call of ``url_for`` costs as much as the rest of a row's cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from flask import Flask, g, url_for

_ANY = UUID(int=0)


def init_app(app: Flask) -> None:
    """Give the functions below to all templates."""
    app.jinja_env.globals.update(client_url=client_url, pipeline_url=pipeline_url, run_url=run_url)


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
