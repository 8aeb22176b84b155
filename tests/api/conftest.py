"""What tests of the API share."""

from __future__ import annotations

import pytest
from flask import Flask

from chm_web.models import Pipeline, Platform
from tests.configured import with_partner, without_redis
from tests.factories import make_pipeline

__all__ = ["orders", "with_partner", "without_redis"]


@pytest.fixture
def orders(app: Flask) -> Pipeline:
    """The pipeline that the events of ``tests.ingestion.lineage`` are of."""
    return make_pipeline(external_id="vendor/nightly_orders", platform=Platform.CUSTOM)
