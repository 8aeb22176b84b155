"""What a source is asked for: the pipelines it serves, within a scope."""

from __future__ import annotations

from chm_web.ingestion.progress import SyncScope
from chm_web.ingestion.sources import Source
from chm_web.services.clients import find_client
from chm_web.services.pipelines import IngestTarget, list_ingest_targets


def targets_of(source: Source, scope: SyncScope, shard: int | None = None) -> list[IngestTarget]:
    """List the pipelines of ``scope`` that a source serves, of one shard where that is given.

    Raises:
        NotFound: the source is bound to a client that is not there.
        OperationalError: the database does not answer.
    """
    client_id = scope.client_id
    if source.client is not None:
        bound_to = find_client(name_or_id=source.client).id
        if client_id not in (None, bound_to):
            return []
        client_id = bound_to
    targets = list_ingest_targets(platforms=source.platforms, client_id=client_id, pipeline_id=scope.pipeline_id)
    return [target for target in targets if shard is None or target.pipeline_id.int % source.shards == shard]
