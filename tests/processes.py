"""The environments in which tests start processes: whatever the shell of whoever runs them says of CHM is left out."""

from __future__ import annotations

import os

from chm_web.config import Config


def bare_environ() -> dict[str, str]:
    """The environment of somebody who has configured nothing."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CHM_")}


def environ_of(config: Config, **values: str) -> dict[str, str]:
    """The environment of a process that works with the servers and the key of a configuration."""
    return {
        **bare_environ(),
        "CHM_DATABASE_URL": config.database_url,
        "CHM_REDIS_URL": config.redis_url,
        "CHM_SECRET_KEY": config.secret_key,
        **values,
    }
