"""Pipelines: what is run for a client, and where."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Text, any_, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from chm_web.extensions import db
from chm_web.models import Client, Environment, Pipeline, PipelineType, Platform
from chm_web.services.audit import all_of, log_change
from chm_web.services.clients import get_client
from chm_web.services.conflicts import commit_explained
from chm_web.services.exceptions import NotFound
from chm_web.services.run_values import UNSTORABLE
from chm_web.services.versions import apply_changes


def create_pipeline(
    *,
    client_id: UUID,
    name: str,
    platform: Platform,
    pipeline_type: PipelineType,
    external_id: str | None = None,
    description: str | None = None,
    environment: Environment = Environment.PROD,
    is_active: bool = True,
    expected_every_minutes: int | None = None,
    updated_by: str | None = None,
) -> Pipeline:
    """Create a pipeline of a client.

    Args:
        client_id: whose pipeline it is.
        name: unique within the client, ignoring case.
        platform: where it runs.
        pipeline_type: what it does.
        external_id: its id on the platform; unique within client and platform.
        description: free text.
        environment: where it is deployed.
        is_active: whether it counts in the active views.
        expected_every_minutes: how often a success is expected; makes "late" derivable.
        updated_by: who creates it.

    Raises:
        NotFound: there is no such client.
        Conflict: the name or the external id is taken.
        Invalid: a value breaks a rule of the data model.
    """
    get_client(client_id=client_id)
    pipeline = Pipeline(
        client_id=client_id,
        name=name.strip(),
        platform=platform,
        external_id=external_id,
        pipeline_type=pipeline_type,
        description=description,
        environment=environment,
        is_active=is_active,
        expected_every_minutes=expected_every_minutes,
        updated_by=updated_by,
    )
    db.session.add(pipeline)
    commit_explained()
    log_change("create", pipeline, all_of(pipeline), updated_by)
    return pipeline


def get_pipeline(*, pipeline_id: UUID) -> Pipeline:
    """Give one pipeline.

    Raises:
        NotFound: there is no such pipeline.
    """
    pipeline = db.session.get(Pipeline, pipeline_id)
    if pipeline is None:
        raise NotFound(f"There is no pipeline {pipeline_id}.")
    return pipeline


def update_pipeline(
    *, pipeline_id: UUID, changes: Mapping[str, Any], if_version: str | None = None, updated_by: str | None = None
) -> Pipeline:
    """Change the fields named in ``changes``: any of a new pipeline's but the client.

    Raises:
        NotFound: there is no such pipeline.
        Stale: the pipeline is not at ``if_version`` any more.
        Conflict: the name or the external id is taken.
        Invalid: a value breaks a rule of the data model.
    """
    pipeline = get_pipeline(pipeline_id=pipeline_id)
    changed = apply_changes(pipeline, changes, if_version=if_version, updated_by=updated_by)
    commit_explained()
    log_change("update", pipeline, changed, updated_by)
    return pipeline


def disable_pipeline(*, pipeline_id: UUID, updated_by: str | None = None) -> None:
    """Leave a pipeline out of the active views and of ingestion; its history stays. Doing it twice is fine.

    Raises:
        NotFound: there is no such pipeline.
    """
    update_pipeline(pipeline_id=pipeline_id, changes={"is_active": False}, updated_by=updated_by)


def set_pipelines_active(*, pipeline_ids: Collection[UUID], is_active: bool, updated_by: str | None = None) -> int:
    """Enable or disable several pipelines at once, and give how many were not so before.

    Ids that there are no pipelines of are left out.
    """
    query = (
        select(Pipeline)
        .where(Pipeline.id.in_(pipeline_ids), Pipeline.is_active != is_active)
        .order_by(Pipeline.id)  # two who change the same ones wait for each other, and never both
        .with_for_update()
    )
    changed = db.session.scalars(query).all()
    for pipeline in changed:
        pipeline.is_active = is_active
        pipeline.updated_by = updated_by
    db.session.commit()
    for pipeline in changed:
        log_change("update", pipeline, {"is_active": (not is_active, is_active)}, updated_by)
    return len(changed)


@dataclass(frozen=True, slots=True)
class SameId:
    """Another client's pipeline with the same external id on the same platform."""

    pipeline_id: UUID
    pipeline_name: str
    client_id: UUID
    client_name: str


def list_same_external_id(*, external_id: str, platform: Platform, client_id: UUID, limit: int = 5) -> list[SameId]:
    """List pipelines in service of clients other than ``client_id`` that have this external id on this platform.

    That is allowed: two clients may each have a platform of their own where the same name is in use. Where they share
    one, a source that is read for both brings the same runs to both.
    """
    query = (
        select(Pipeline.id, Pipeline.name, Client.id, Client.name)
        .join(Client, Client.id == Pipeline.client_id)
        .where(
            Pipeline.external_id == external_id,
            Pipeline.platform == platform,
            Pipeline.client_id != client_id,
            Pipeline.is_active,
            Client.is_active,
        )
        .order_by(func.lower(Client.name), Pipeline.id)
        .limit(limit)
    )
    return [SameId(*row) for row in db.session.execute(query)]


@dataclass(frozen=True, slots=True)
class IngestTarget:
    """A pipeline whose runs can be asked for: our id and the platform's."""

    pipeline_id: UUID
    external_id: str


def list_ingest_targets(
    *, platforms: Collection[Platform], client_id: UUID | None = None, pipeline_id: UUID | None = None
) -> list[IngestTarget]:
    """List the active pipelines on ``platforms`` that have an external id, in the order of their ids.

    Those of a disabled client are left out. ``client_id`` and ``pipeline_id`` narrow the list.
    """
    query = (
        select(Pipeline.id, Pipeline.external_id)
        .join(Client, Client.id == Pipeline.client_id)
        .where(
            Pipeline.is_active,
            Client.is_active,
            Pipeline.external_id.is_not(None),
            Pipeline.platform.in_(platforms),
        )
        .order_by(Pipeline.id)
    )
    if client_id is not None:
        query = query.where(Pipeline.client_id == client_id)
    if pipeline_id is not None:
        query = query.where(Pipeline.id == pipeline_id)
    targets = [IngestTarget(row.id, row.external_id) for row in db.session.execute(query)]
    # The caller reads a platform for minutes after this: no transaction may stay open meanwhile.
    db.session.commit()
    return targets


@dataclass(frozen=True, slots=True)
class KnownPipeline:
    """A pipeline as whoever reports its runs knows it."""

    id: UUID
    external_id: str
    platform: Platform


def find_by_external_ids(*, external_ids: Collection[str]) -> dict[str, list[KnownPipeline]]:
    """Find the active pipelines of active clients that have one of these external ids, on any platform.

    Several may have the same one: of different clients, or on different platforms. An id that none has is left out.
    """
    # No pipeline's id holds these, and psycopg would refuse to ask for them.
    storable = [external_id for external_id in external_ids if not UNSTORABLE.search(external_id)]
    query = (
        select(Pipeline.id, Pipeline.external_id, Pipeline.platform)
        .join(Client, Client.id == Pipeline.client_id)
        .where(Pipeline.is_active, Client.is_active, Pipeline.external_id == any_(literal(storable, ARRAY(Text))))
        .order_by(Pipeline.id)
    )
    found: dict[str, list[KnownPipeline]] = {}
    for row in db.session.execute(query):
        found.setdefault(row.external_id, []).append(KnownPipeline(row.id, row.external_id, row.platform))
    # What follows may wait for other servers: no transaction may stay open meanwhile.
    db.session.commit()
    return found


def find_registered(*, external_ids: Collection[str]) -> set[str]:
    """Tell which of these external ids any pipeline has: of any client, on any platform, disabled ones included."""
    storable = [external_id for external_id in external_ids if not UNSTORABLE.search(external_id)]
    query = select(Pipeline.external_id).where(Pipeline.external_id == any_(literal(storable, ARRAY(Text))))
    found = {external_id for external_id in db.session.scalars(query) if external_id is not None}
    db.session.commit()
    return found
