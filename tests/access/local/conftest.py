"""An app with one local user, and a browser before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chm_web.access.permissions import Role
from chm_web.access.users import UserFile
from tests.access.local.steps import NAME, PASSWORD


@pytest.fixture
def users(app: Flask) -> Iterator[UserFile]:
    """The app's users: one operator."""
    file: UserFile = app.extensions["chm_users"]
    file.add(name=NAME, role=Role.OPERATOR, password=PASSWORD)
    yield file
    file.path.unlink()


@pytest.fixture
def browser(app: Flask, users: UserFile) -> FlaskClient:
    """A browser in which nobody is signed in."""
    return app.test_client()
