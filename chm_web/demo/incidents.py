"""When things break: incidents of single pipelines and outages of whole clients.

An incident has to be under way at any moment somebody looks, yet a past run must never change. So incidents
are not laid out backwards from now: a rota gives every slot of absolute time a victim, and incidents outlast
their slot, so that at least one is always on, one began not long ago and one ended not long ago.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

from chm_web.demo.chance import mix, seed_of, unit
from chm_web.demo.fleet import CLIENTS, PIPELINES
from chm_web.demo.model import Pipeline

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Rota:
    """Incidents one after the other: one begins in each slot and lasts between the two lengths (ms)."""

    seed: int
    slot: int
    shortest: int
    longest: int


_ROTAS = {
    "hours": Rota(seed_of("hours"), 210 * MINUTE_MS, 6 * HOUR_MS, 8 * HOUR_MS),
    # Twice as long as its slots: some pipeline has always been failing for days.
    "days": Rota(seed_of("days"), 60 * HOUR_MS, 5 * DAY_MS, 6 * DAY_MS),
}

_OUTAGE_SEED = seed_of("outages")
_OUTAGE_CLIENTS = tuple(client.name for client in CLIENTS if client.name.startswith(("Orrinfell", "Quillhaven")))
_OUTAGE_RATE = 0.09  # of days


@cache
def _pool(rota: str) -> tuple[str, ...]:
    return tuple(pipeline.external_id for pipeline in PIPELINES if pipeline.profile.rota == rota)


@lru_cache(maxsize=4096)
def _incident(rota: str, slot: int) -> tuple[str, int, int]:
    """Give the slot's victim and the incident's begin and end (ms)."""
    rules, pool = _ROTAS[rota], _pool(rota)
    cycle, turn = divmod(slot, len(pool))
    # Everyone once a cycle, each cycle in another order: even shares, but no timetable to be seen.
    order = sorted(range(len(pool)), key=lambda member: mix(rules.seed, cycle, member))
    begin = slot * rules.slot + int(unit(rules.seed, slot, 1) * rules.slot * 0.3)
    length = rules.shortest + int(unit(rules.seed, slot, 2) * (rules.longest - rules.shortest))
    return pool[order[turn]], begin, begin + length


def incident_at(pipeline: Pipeline, moment: int) -> int | None:
    """Give the seed of the incident the pipeline is in at a moment (ms since 1970), None if it is in none."""
    rota = pipeline.profile.rota
    if rota == "none":
        return None
    rules = _ROTAS[rota]
    slot = moment // rules.slot
    for candidate in range(slot - rules.longest // rules.slot - 1, slot + 1):
        victim, begin, end = _incident(rota, candidate)
        if victim == pipeline.external_id and begin <= moment < end:
            return mix(rules.seed, candidate)
    return None


def outage_at(pipeline: Pipeline, moment: int) -> int | None:
    """Give the seed of the client-wide outage at a moment (ms since 1970), None if there is none."""
    # A pipeline whose runs come late would show the outage long after all others have recovered from it.
    if pipeline.client not in _OUTAGE_CLIENTS or pipeline.profile.lag_hours:
        return None
    day, time = divmod(moment, DAY_MS)
    if unit(_OUTAGE_SEED, day) >= _OUTAGE_RATE:
        return None
    if _OUTAGE_CLIENTS[mix(_OUTAGE_SEED, day, 1) % len(_OUTAGE_CLIENTS)] != pipeline.client:
        return None
    # In working hours only: a nightly job that fell into an outage would stay failed all the next day.
    begin = int((10 + 4 * unit(_OUTAGE_SEED, day, 2)) * HOUR_MS)
    length = int((2 + 2.5 * unit(_OUTAGE_SEED, day, 3)) * HOUR_MS)
    return mix(_OUTAGE_SEED, day) if begin <= time < begin + length else None
