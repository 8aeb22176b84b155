"""The shapes of the demo's inventory."""

from dataclasses import dataclass, field
from typing import Literal

Platform = Literal["airflow", "dbt", "cron", "vendor_api", "custom"]
PipelineType = Literal["ingestion", "transform", "quality", "export", "healthcheck"]
Environment = Literal["prod", "staging"]
Rota = Literal["none", "hours", "days"]
Dialect = Literal["plain", "clerk", "machine"]

HOUR = 60
DAY = 24 * HOUR
WEEK = 7 * DAY

# Stands for "expected as often as it is scheduled", since None already means "nothing is expected".
AS_SCHEDULED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How a pipeline's runs behave: for the partner alone. Rates are probabilities for one run."""

    every: int  # minutes between scheduled starts; 0: it has never run
    at: int = 0  # minutes into that interval, counted from Monday 00:00 UTC
    seconds: float = 60.0  # median duration
    rows: int | None = None  # median rows of a run; None: it counts none
    spread: float = 0.22  # sigma of the log-normal duration
    fail: float = 0.003
    cancel: float = 0.0
    skip: float = 0.0
    retry: bool = False  # a chance failure is repeated at once, and succeeds
    flaky: int | None = None  # success and failed alternate; the number is the phase
    slowing: float | None = None  # durations grow over twelve weeks; the number is the phase
    lag_hours: int = 0  # runs are published this late, so the pipeline looks silent for as long
    rota: Rota = "none"  # which rota of incidents it takes part in
    dialect: Dialect = "plain"  # the words it uses for a status


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One pipeline of the inventory. `external_id` is unique in the whole fleet."""

    client: str
    name: str
    platform: Platform
    external_id: str
    pipeline_type: PipelineType
    description: str
    profile: Profile = field(repr=False)
    environment: Environment = "prod"
    expected: int | None = AS_SCHEDULED

    @property
    def expected_every_minutes(self) -> int | None:
        """How often a success is expected, in minutes; None where nothing is expected."""
        return self.profile.every if self.expected == AS_SCHEDULED else self.expected


@dataclass(frozen=True, slots=True)
class Client:
    """A client and its pipelines."""

    name: str
    pipelines: tuple[Pipeline, ...]
