"""Ingestion jobs on RQ: asking for one, doing it, and telling how far it has come.

The only package that imports ``rq`` and ``redis``. A job is a scope and a time; its work is split into parts, one for
each shard of each source, and each part is an RQ job of its own. What is kept in Redis can be lost: the next cycle
reads again, and the runs themselves are in PostgreSQL.

Keys: ``chm:job:<id>`` what was asked for; ``chm:part:<id>`` a part's progress, ``:rejected`` its rejected runs,
``:done`` the pipelines it has done, ``:unread`` those that could not be read; ``chm:jobs`` job ids by time,
``chm:last`` by scope; ``chm:live`` ids of jobs not seen to end; ``chm:watermark:<source>`` and
``chm:position:<source>`` how far feeds have been read, ``chm:deep:<source>`` when last from further back than need be,
``chm:known:<source>`` the pipelines that an account's feed was read for; ``chm:lock:<...>``, of which
``chm:lock:host:<host>:<number>`` are the places at a host; ``chm:signs`` and ``chm:source:<name>`` who is alive, when a
source was last read and how often it has failed; ``chm:ended:<job>:<source>`` that the end of its reading is counted,
``chm:durations`` how long readings took. What belongs to a job ends by itself after a week.

What is pushed leaves ``chm:unmapped``, names that no pipeline bears by time, and ``chm:unmapped:<name>`` what was
reported under one, for a week; ``chm:failed-run:<id>`` a run that failed and ``chm:failure-text:<id>`` why a task in
it did, for a day.
"""

from chm_web.ingestion.queue.asking import request_sync
from chm_web.ingestion.queue.connection import init_app, list_sources
from chm_web.ingestion.queue.diagnosis import diagnose_redis
from chm_web.ingestion.queue.failures import RunKey, match_failures
from chm_web.ingestion.queue.figures import BOUNDS, Durations, QueueFigures, read_queue_figures
from chm_web.ingestion.queue.forgetting import forget_reading
from chm_web.ingestion.queue.looking import WORKER_SILENT_AFTER, check_workers, count_live_workers, ping
from chm_web.ingestion.queue.pool import run_workers
from chm_web.ingestion.queue.rhythm import Rhythm, rhythms_of
from chm_web.ingestion.queue.schedule import run_schedule
from chm_web.ingestion.queue.signs import Signs, SourceSigns, read_signs
from chm_web.ingestion.queue.telling import (
    find_live_job,
    get_job,
    last_job,
    last_jobs,
    latest_jobs,
    list_rejected,
    list_unread,
)
from chm_web.ingestion.queue.unmapped import UnmappedName, list_unmapped, note_unmapped
from chm_web.ingestion.queue.work import run_worker

__all__ = [
    "BOUNDS",
    "WORKER_SILENT_AFTER",
    "Durations",
    "QueueFigures",
    "Rhythm",
    "RunKey",
    "Signs",
    "SourceSigns",
    "UnmappedName",
    "check_workers",
    "count_live_workers",
    "diagnose_redis",
    "find_live_job",
    "forget_reading",
    "get_job",
    "init_app",
    "last_job",
    "last_jobs",
    "latest_jobs",
    "list_rejected",
    "list_sources",
    "list_unmapped",
    "list_unread",
    "match_failures",
    "note_unmapped",
    "ping",
    "read_queue_figures",
    "read_signs",
    "request_sync",
    "rhythms_of",
    "run_schedule",
    "run_worker",
    "run_workers",
]
