"""The demo's clients that look healthy at all times: a rare failure is retried and succeeds."""

from functools import partial

from chm_web.demo.model import DAY, HOUR, WEEK, Client, Pipeline, Profile

_bank = partial(Pipeline, "Tallowmere Bank")
_travel = partial(Pipeline, "Larkspindle Travel")
_health = partial(Pipeline, "Osmerley Health")
_optics = partial(Pipeline, "Zinnowell Optics")

_BANK = (
    _bank(
        "ledger_daily",
        "airflow",
        "tallowmere.ledger_daily",
        "ingestion",
        "General ledger, end of day.",
        Profile(every=DAY, at=65, seconds=1_900, rows=880_000, retry=True),
    ),
    _bank(
        "card_auth_health",
        "custom",
        "tallowmere-card-auth",
        "healthcheck",
        "Card authorisation round trip.",
        Profile(every=15, at=11, seconds=9, spread=0.35, fail=0.0008, retry=True),
    ),
    _bank(
        "fx_rates",
        "vendor_api",
        "tallowmere-fx",
        "ingestion",
        "Exchange rates of 42 currencies.",
        Profile(every=3 * HOUR, at=5, seconds=35, rows=42, retry=True),
    ),
    _bank(
        "kyc_sync",
        "vendor_api",
        "tallowmere-kyc",
        "ingestion",
        "Results of customer checks.",
        Profile(every=4 * HOUR, at=70, seconds=900, rows=1_900, retry=True, skip=0.02),
        expected=12 * HOUR,
    ),
    _bank(
        "risk_mart",
        "dbt",
        "tallowmere_risk_mart",
        "transform",
        "Exposure by counterparty.",
        Profile(every=DAY, at=200, seconds=3_300, rows=2_400_000, retry=True),
    ),
    _bank(
        "ledger_quality",
        "dbt",
        "tallowmere_ledger_quality",
        "quality",
        "Debits equal credits, and 60 more.",
        Profile(every=DAY, at=150, seconds=260, retry=True),
    ),
    _bank(
        "regulator_export",
        "cron",
        "tallowmere-regulator",
        "export",
        "Weekly return to the regulator.",
        Profile(every=WEEK, at=4 * HOUR, seconds=1_400, rows=96_000, retry=True),
    ),
    _bank(
        "branch_health",
        "custom",
        "tallowmere-branches",
        "healthcheck",
        "All branch terminals reachable.",
        Profile(every=3 * HOUR, at=50, seconds=22, retry=True),
    ),
    _bank(
        "statement_export",
        "airflow",
        "tallowmere.statements",
        "export",
        "Account statements to print.",
        Profile(every=DAY, at=290, seconds=2_050, rows=310_000, retry=True),
    ),
)

_TRAVEL = (
    _travel(
        "bookings",
        "airflow",
        "larkspindle.bookings",
        "ingestion",
        "Bookings of all channels.",
        Profile(every=3 * HOUR, at=22, seconds=800, rows=6_300, retry=True),
    ),
    _travel(
        "reservations_hotel",
        "vendor_api",
        "larkspindle réservations",
        "ingestion",
        "Hotel reservations.",
        Profile(every=6 * HOUR, at=75, seconds=290, rows=4_800, retry=True),
    ),
    _travel(
        "fares",
        "vendor_api",
        "larkspindle-fares",
        "ingestion",
        "Published fares, changes only.",
        Profile(every=3 * HOUR, at=115, seconds=900, rows=150_000, retry=True, skip=0.03),
        expected=9 * HOUR,
    ),
    _travel(
        "trips_mart",
        "dbt",
        "larkspindle_trips_mart",
        "transform",
        "Trips, travellers and margins.",
        Profile(every=DAY, at=225, seconds=1_300, rows=410_000, retry=True),
    ),
    _travel(
        "trips_quality",
        "dbt",
        "larkspindle_trips_quality",
        "quality",
        "Tests on the trips mart.",
        Profile(every=DAY, at=260, seconds=95, retry=True),
    ),
    _travel(
        "invoice_export",
        "cron",
        "larkspindle-invoices",
        "export",
        "Invoices to the accountants.",
        Profile(every=DAY, at=345, seconds=180, rows=1_450, retry=True),
    ),
    _travel(
        "trips_preview",
        "dbt",
        "larkspindle_trips_staging",
        "transform",
        "The trips mart's next version.",
        Profile(every=6 * HOUR, at=130, seconds=600, rows=40_000, retry=True, cancel=0.02),
        environment="staging",
        expected=None,
    ),
)

_HEALTH = (
    _health(
        "lab_results",
        "vendor_api",
        "osmerley-lab-results",
        "ingestion",
        "Results from three laboratories.",
        Profile(every=3 * HOUR, at=85, seconds=700, rows=2_100, retry=True),
    ),
    _health(
        "appointments",
        "airflow",
        "osmerley.appointments",
        "ingestion",
        "Appointments of all practices.",
        Profile(every=DAY, at=175, seconds=450, rows=11_800, retry=True),
    ),
    _health(
        "claims_export",
        "cron",
        "osmerley-claims",
        "export",
        "Claims to the insurers.",
        Profile(every=WEEK, at=2 * DAY + 5 * HOUR, seconds=980, rows=27_500, retry=True),
    ),
    _health(
        "consent_quality",
        "dbt",
        "osmerley_consent_quality",
        "quality",
        "Every record has a consent.",
        Profile(every=DAY, at=235, seconds=75, retry=True),
    ),
)

_OPTICS = (
    _optics(
        "stock_sync",
        "vendor_api",
        "zinnowell-stock",
        "ingestion",
        "Frames and lenses in stock.",
        Profile(every=6 * HOUR, at=55, seconds=85, rows=6_900, retry=True),
    ),
    _optics(
        "sales_weekly",
        "airflow",
        "zinnowell.sales_weekly",
        "transform",
        "Sales of the week.",
        Profile(every=WEEK, at=HOUR, seconds=300, rows=18_200, retry=True),
    ),
)

STEADY = tuple(Client(rows[0].client, rows) for rows in (_BANK, _TRAVEL, _HEALTH, _OPTICS))
