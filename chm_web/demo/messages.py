"""What failed runs say, by platform and kind of pipeline, and why others were canceled or skipped."""

from chm_web.demo.chance import mix
from chm_web.demo.model import Pipeline

_DATABASE = (
    'psycopg.OperationalError: connection to server at "{host}", port 5432 failed: timeout expired',
    "psycopg.errors.DeadlockDetected: deadlock detected\n"
    "DETAIL:  Process {small} waits for ShareLock on transaction {number}; blocked by process {port}.\n"
    "HINT:  See server log for query details.\n"
    'CONTEXT:  while updating tuple ({small},14) in relation "{name}"',
)

_AIRFLOW = (
    "Traceback (most recent call last):\n"
    '  File "/opt/pipelines/{name}/tasks/load.py", line {small}, in execute\n'
    "    rows = copy_into(table=TARGET, batch=batch)\n"
    '  File "/opt/pipelines/common/warehouse.py", line 87, in copy_into\n'
    "    cursor.execute(statement, parameters)\n"
    'psycopg.errors.UndefinedColumn: column "{column}" of relation "{name}" does not exist\n'
    "LINE 1: INSERT INTO staging.{name} (id, {column}, loaded_at)",
    "Task load_{name} exited with return code -9: out of memory (limit 2048 MiB, wanted {number} kB more)",
    "Upstream task extract_{name} failed; 3 downstream tasks were not started",
)

_DBT = (
    "Database Error in model {name} (models/marts/{name}.sql)\n"
    '  column "{column}" does not exist\n'
    "  LINE {small}:   coalesce(src.{column}, 0) as {column},\n"
    "  compiled code at target/run/models/marts/{name}.sql",
    "Runtime Error in model {name}: canceling statement due to statement timeout after {seconds} s",
    "Compilation Error in model {name}: depends on a source named 'raw.{column}_events' which was not found",
)

_CRON = (
    "cp: error writing '/var/export/{name}.csv.part': No space left on device\nexit status 1",
    "sftp: Permission denied (publickey). Host {host} refused the key after it was rotated\nexit status 255",
    "{name}.sh: line {small}: /usr/local/bin/dump_table: No such file or directory\nexit status 127",
)

_VENDOR = (
    "HTTP 401 from https://{host}/v2/{name}: token expired (request id {hex})",
    "HTTP 429 from https://{host}/v2/{name}: quota of {number} calls an hour used up, retry after {seconds} s",
    "HTTP 503 from https://{host}/v2/{name}: upstream maintenance; gave up after 5 attempts in {seconds} s",
    "Schema drift: column {column} missing in page {small} of {name}; 23 columns expected, 22 received",
    "requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='{host}', port=443): Read timed out.",
)

_CUSTOM = (
    "Traceback (most recent call last):\n"
    '  File "/app/run.py", line {small}, in <module>\n'
    "    main()\n"
    '  File "/app/run.py", line 31, in main\n'
    "    frame = parse(chunk)\n"
    '  File "/app/parse.py", line 112, in parse\n'
    '    raise ValueError(f"{{len(bad)}} lines could not be parsed")\n'
    "ValueError: {number} lines could not be parsed, the first: unexpected delimiter in field '{column}'",
    "OSError: [Errno 122] Disk quota exceeded: '/data/spool/{name}/{hex}.parquet'",
    "ConnectionResetError: [Errno 104] Connection reset by peer while reading from {host}:{port}",
)

_QUALITY = (
    "Failure in test not_null_{name}_{column}: got {small} results, configured to fail if != 0",
    "Failure in test unique_{name}_id: {number} duplicate keys\n  the first: {hex}, {port}, {number}",
    "Failure in test freshness_{name}: newest row is {seconds} minutes old, at most 360 allowed",
)

_HEALTHCHECK = (
    "GET https://{host}/health answered 503 Service Unavailable in {small} ms",
    "TLS handshake with {host}:443 failed: certificate has expired",
    "No answer from {host} within 10 s (3 of 3 attempts)",
)

_OUTAGE = (
    'psycopg.OperationalError: connection to server at "{host}", port 5432 failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?",
    "Warehouse unreachable: no route to host {host} (VPN tunnel down), gave up after {seconds} s",
)

_BY_PLATFORM = {
    "airflow": _AIRFLOW + _DATABASE,
    "dbt": _DBT + _DATABASE,
    "cron": _CRON,
    "vendor_api": _VENDOR,
    "custom": _CUSTOM + _DATABASE,
}
_BY_TYPE = {"quality": _QUALITY, "healthcheck": _HEALTHCHECK}

_COLUMNS = ("customer_ref", "net_amount", "valid_from", "country_code", "sku", "updated_ts", "iban_hash")
_CANCELED = ("canceled by the operator", "superseded by a newer run", "maintenance window")
_SKIPPED = ("no new input", "upstream unchanged", "previous run still active")
_FAILED = ("task_failed", "retries exhausted", None, None)


def host_of(pipeline: Pipeline) -> str:
    """Give the fictional host a pipeline talks to (in a domain reserved for examples)."""
    return f"{pipeline.client.split()[0].lower()}-{pipeline.platform.replace('_', '-')}.example"


def failure_message(pipeline: Pipeline, cause: int, run: int) -> str:
    """Give a failed run's text: `cause` picks what went wrong, `run` its details."""
    texts = _BY_TYPE.get(pipeline.pipeline_type) or _BY_PLATFORM[pipeline.platform]
    return _filled(texts[cause % len(texts)], pipeline, cause, run)


def outage_message(pipeline: Pipeline, cause: int, run: int) -> str:
    """Give the text of a run that failed since nothing of its client could be reached."""
    return _filled(_OUTAGE[cause % len(_OUTAGE)], pipeline, cause, run)


def timeout_message(seconds: int) -> str:
    """Give the text of a run that was stopped at its time limit."""
    return f"Run exceeded its time limit and was stopped after {seconds} s"


def reason_of(outcome: str, run: int) -> str | None:
    """Give a finished run's short reason, None where it has none to give."""
    reasons: dict[str, tuple[str | None, ...]] = {
        "canceled": _CANCELED,
        "skipped": _SKIPPED,
        "failed": _FAILED,
    }
    choices = reasons.get(outcome, (None,))
    return choices[run % len(choices)]


def _filled(text: str, pipeline: Pipeline, cause: int, run: int) -> str:
    # The column belongs to the cause: every run of one incident misses the same one.
    return text.format(
        name=pipeline.name,
        host=host_of(pipeline),
        column=_COLUMNS[mix(cause, 7) % len(_COLUMNS)],
        small=20 + mix(run, 1) % 180,
        number=10_000 + mix(run, 2) % 90_000,
        port=30_000 + mix(run, 3) % 20_000,
        seconds=400 + mix(run, 4) % 900,
        hex=f"{mix(run, 5):016x}",
    )
