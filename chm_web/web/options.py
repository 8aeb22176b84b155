"""What a field lets one choose from: values and their words."""

from __future__ import annotations

from collections.abc import Iterable

from chm_web.services import naming

Options = list[tuple[str, str]]


def client_options(*, is_active: bool | None = None) -> Options:
    """Give all clients to choose from; with ``is_active``, only the enabled (True) or disabled (False) ones."""
    return options_of(naming.list_client_names(is_active=is_active))


def options_of(things: Iterable[naming.Named]) -> Options:
    """Give things to choose from by their names; of the disabled ones it is said."""
    return [(str(one.id), one.name if one.is_active else f"{one.name} (disabled)") for one in things]
