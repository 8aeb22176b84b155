"""The demo's inventory: eight fictional clients and their pipelines.

`PIPELINES` is what the application's inventory is filled from. A pipeline's `profile` says how its runs
behave and is for the partner alone: the application has to find that out from the runs.
"""

from functools import cache

from chm_web.demo.fleet_steady import STEADY
from chm_web.demo.fleet_troubled import TROUBLED
from chm_web.demo.model import Client, Pipeline

__all__ = ["CLIENTS", "PIPELINES", "Client", "Pipeline", "find_pipeline"]

CLIENTS: tuple[Client, ...] = tuple(sorted(TROUBLED + STEADY, key=lambda client: client.name))

PIPELINES: tuple[Pipeline, ...] = tuple(pipeline for client in CLIENTS for pipeline in client.pipelines)


@cache
def _by_external_id() -> dict[str, Pipeline]:
    return {pipeline.external_id: pipeline for pipeline in PIPELINES}


def find_pipeline(external_id: str) -> Pipeline | None:
    """Give the pipeline of that external id, None if the fleet has none."""
    return _by_external_id().get(external_id)
