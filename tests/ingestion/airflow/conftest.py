"""The pipeline that an Airflow has runs of."""

from __future__ import annotations

import pytest
from flask import Flask

from chm_web.models import Pipeline, Platform
from tests.factories import make_pipeline
from tests.ingestion.airflows import DAG


@pytest.fixture
def pipeline(app: Flask) -> Pipeline:
    """The pipeline of the recorded DAG."""
    return make_pipeline(external_id=DAG, platform=Platform.AIRFLOW)
