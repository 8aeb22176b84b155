"""The sources' file, and ``chm sources``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer

from chm_web import create_app
from chm_web.commands.sources import sources
from chm_web.config import Config, ConfigError
from chm_web.ingestion.feeds import FEEDS
from chm_web.ingestion.problems import behind_since, find_problems
from chm_web.ingestion.progress import SyncScope
from chm_web.ingestion.queue import Signs, SourceSigns, read_signs, request_sync
from chm_web.ingestion.queue.schedule import due_scopes
from chm_web.ingestion.sources import KINDS, Source
from chm_web.ingestion.sources_config import sources_of
from chm_web.ingestion.targets import targets_of
from chm_web.models import Platform
from chm_web.services.exceptions import Conflict, NotFound
from chm_web.services.redaction import REDACTED, redact_text
from tests.factories import NOW, make_client, make_pipeline
from tests.ingestion.partners import FAST, base_url, page

SECRET = "a-secret-nobody-may-read"
ENVIRON = {"VENDOR_TOKEN": SECRET, "EMPTY": ""}
WHOLE = """
[sources.vendor]
kind = "partner"
base_url = "https://vendor.example/api/"
token = "env:VENDOR_TOKEN"
client = "Acme"
platforms = ["vendor_api", "custom"]
interval = 900
page_size = 50
concurrency = 2
paused = true

[sources.other]
kind = "partner"
base_url = "https://other.example"
"""
DBT = '[sources.dbt]\nkind = "dbt_cloud"\nbase_url = "https://ab123.us1.dbt.example"\ntoken = "env:VENDOR_TOKEN"\n'
MINIMAL = '[sources.vendor]\nkind = "partner"\nbase_url = "https://vendor.example"\n'


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], tuple[Source, ...]]:
    """Reads a sources' file that says this."""

    def reading(content: str) -> tuple[Source, ...]:
        path = tmp_path / "sources.toml"
        path.write_text(content)
        return sources_of(replace(FAST, sources_file=path), ENVIRON)

    return reading


Read = Callable[[str], tuple[Source, ...]]


def test_every_setting_of_a_source_is_read(read: Read) -> None:
    vendor, other = read(WHOLE)

    assert vendor == Source(
        name="vendor",
        kind="partner",
        base_url="https://vendor.example/api",
        token=SECRET,
        client="Acme",
        platforms=(Platform.VENDOR_API, Platform.CUSTOM),
        interval=900,
        page_size=50,
        concurrency=2,
        paused=True,
    )
    assert other == Source(
        name="other", base_url="https://other.example", platforms=(Platform.VENDOR_API,), page_size=500
    )


def test_a_secret_may_stand_in_a_file_beside_the_sources(read: Read, tmp_path: Path) -> None:
    (tmp_path / "vendor.token").write_text(f"{SECRET}\n")

    (vendor,) = read(f'{MINIMAL}token = "file:vendor.token"\n')

    assert vendor.token == SECRET


def test_a_dbt_cloud_is_read_with_its_account(read: Read) -> None:
    (dbt,) = read(f"{DBT}account_id = 4711\n")

    assert (dbt.account_id, dbt.platforms, dbt.page_size, dbt.token) == ("4711", (Platform.DBT,), 100, SECRET)


def test_every_kind_of_account_has_an_adapter() -> None:
    assert set(FEEDS) == {name for name, kind in KINDS.items() if kind.is_account}


def test_the_partner_of_the_environment_stands_beside_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    path.write_text(MINIMAL)

    found = sources_of(replace(FAST, sources_file=path, partner_api_base_url="https://partner.example"), ENVIRON)

    assert [source.name for source in found] == ["partner", "vendor"]


def test_two_sources_named_partner_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    path.write_text(MINIMAL.replace("vendor]", "partner]"))

    with pytest.raises(ConfigError, match=r"sources\.partner has the name of the source that CHM_PARTNER_API_BASE_URL"):
        sources_of(replace(FAST, sources_file=path, partner_api_base_url="https://partner.example"), ENVIRON)


REFUSED: dict[str, tuple[str, str]] = {
    "no TOML": ('[sources.vendor]\nkind = "partner"\nbase_url = nonsense\n', r"sources\.toml is not TOML: .*line 3"),
    "a misspelt setting": (f"{MINIMAL}page_sise = 10\n", "no setting 'page_sise'. Did you mean page_size"),
    "a setting like no other": (f"{MINIMAL}xyzzy = 10\n", "no setting 'xyzzy'. There is: kind, base_url"),
    "a misspelt table": (MINIMAL.replace("sources.", "source."), "no setting 'source'. Did you mean sources"),
    "no table": ('sources = "vendor"\n', r"sources must hold a table for each source"),
    "an unknown kind": (MINIMAL.replace('"partner"', '"jenkins"'), r"sources\.vendor\.kind: must be one of: partner"),
    "no kind": ('[sources.vendor]\nbase_url = "https://vendor.example"\n', r"sources\.vendor\.kind: missing data"),
    "no address": ('[sources.vendor]\nkind = "partner"\n', r"sources\.vendor\.base_url: missing data"),
    "an address that is none": (MINIMAL.replace("https://", ""), r"sources\.vendor\.base_url must be an address"),
    "a password in the address": (
        MINIMAL.replace("https://", "https://chm:hunter2@"),
        r"sources\.vendor\.base_url must not hold a name or password. Use token",
    ),
    "an unset variable": (f'{MINIMAL}token = "env:NOT_SET"\n', r"vendor\.token: the environment variable NOT_SET is"),
    "an empty variable": (f'{MINIMAL}token = "env:EMPTY"\n', r"vendor\.token: the environment variable EMPTY is empty"),
    "a file that is not there": (f'{MINIMAL}token = "file:/not/there"\n', "cannot read /not/there: No such file"),
    "an unknown platform": (f'{MINIMAL}platforms = ["jenkins"]\n', r"sources\.vendor\.platforms: must be one of: airf"),
    "no platform": (f"{MINIMAL}platforms = []\n", r"sources\.vendor\.platforms: shorter than minimum length 1"),
    "an interval of nothing": (f"{MINIMAL}interval = 0\n", r"sources\.vendor\.interval: must be greater"),
    "an interval that is text": (f'{MINIMAL}interval = "5"\n', r"sources\.vendor\.interval: not a valid integer"),
    "too large pages": (f"{MINIMAL}page_size = 1000000\n", r"page_size: partner gives at most 10000 runs a page"),
    "paused that is text": (f'{MINIMAL}paused = "no"\n', r"sources\.vendor\.paused: not a valid boolean"),
    "no account": (DBT, r"sources\.dbt\.account_id: is missing. dbt_cloud needs the number of the account"),
    "an account that is none": (f'{DBT}account_id = "a"\n', r"sources\.dbt\.account_id: not a valid integer"),
    "an account of a partner": (f"{MINIMAL}account_id = 1\n", r"sources\.vendor\.account_id: partner takes none"),
    "too many at once": (
        f"{MINIMAL}concurrency = 11\n",
        r"sources\.vendor\.concurrency: must be .* less than or equal",
    ),
    "pipelines at once of an account": (
        f"{DBT}account_id = 1\nconcurrency = 2\n",
        r"sources\.dbt\.concurrency: dbt_cloud is read by one feed",
    ),
    "an empty client": (f'{MINIMAL}client = ""\n', r"sources\.vendor\.client: must not be empty"),
    "a name with a space": (MINIMAL.replace("vendor]", '"my vendor"]'), "my vendor: a source's name has up to 64"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_work_is_refused_and_says_where(read: Read, what: str) -> None:
    content, words = REFUSED[what]
    with pytest.raises(ConfigError, match=words) as refused:
        read(content)
    assert "sources.toml" in str(refused.value)


SECOND = """
[sources.first]
kind = "partner"
base_url = "https://first.example"
page_size = 10

# page_size = 1
[ sources . 'vendor' ]  # the one
kind = "partner"
"base_url" = "https://vendor.example"
"""


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (f"{SECOND}page_size = 0\n", "line 11: sources.vendor.page_size: must be greater"),
        (f"{SECOND}interval=0\npage_size = 10\n", "line 11: sources.vendor.interval: must be greater"),
        (f"{SECOND}page_sise = 10\n", "line 11: sources.vendor.page_sise: there is no setting"),
        (SECOND.replace('"https://vendor', '"vendor'), "line 10: sources.vendor.base_url must be an address"),
        # Of what is missing, where the source begins; never a line of another source.
        (f"{SECOND}[sources.third]\n", "line 11: sources.third.kind: missing data"),
        (SECOND.replace('"base_url"', "#") + '[sources.z]\nbase_url = ""\n', "line 8: sources.vendor.base_url: missi"),
        (f'{SECOND}username = "jo"\n', "line 8: sources.vendor: partner takes as credentials"),
        # Nobody writes a source like this, but for it to be refused it need not be found.
        ('sources = { vendor = { kind = "partner" } }\n', "sources.toml: sources.vendor.base_url: missing data"),
    ],
)
def test_the_line_is_named_in_which_something_is_wrong(read: Read, content: str, place: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(place)):
        read(content)


@pytest.mark.parametrize("literal", [SECRET, f"env {SECRET}", f"bearer:{SECRET}"])
def test_a_secret_itself_is_refused_unsaid_with_what_to_write_instead(read: Read, literal: str) -> None:
    with pytest.raises(ConfigError, match=r'token must not be the secret itself. Write "env:NAME"') as refused:
        read(f'{MINIMAL}token = "{literal}"\n')
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("token", [f"{SECRET}\n{SECRET}", f"{SECRET}\t", f"{SECRET}ü"])
def test_a_token_that_no_header_can_carry_is_refused_unsaid(tmp_path: Path, token: str) -> None:
    path = tmp_path / "sources.toml"
    path.write_text(f'{MINIMAL}token = "env:VENDOR_TOKEN"\n')

    with pytest.raises(ConfigError, match=r"sources\.vendor\.token must be one line of ASCII") as refused:
        sources_of(replace(FAST, sources_file=path), {"VENDOR_TOKEN": f"x{token}x"})
    assert SECRET not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"CHM_SOURCES_FILE: cannot read {tmp_path}: Is a directory"):
        sources_of(replace(FAST, sources_file=tmp_path), ENVIRON)


def test_secrets_of_sources_are_hidden_wherever_they_are_echoed(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sources.toml"
    path.write_text(f'{MINIMAL}token = "env:VENDOR_TOKEN"\n')
    monkeypatch.setenv("VENDOR_TOKEN", "plain words as a token")

    create_app(replace(config, sources_file=path))

    assert redact_text("it said: plain words as a token") == f"it said: {REDACTED}"


# -- what is read of a source ---------------------------------------------------------------------------------------


def source_of(**values: object) -> Source:
    """A source of the kind partner."""
    made = Source(name="vendor", base_url="http://vendor", platforms=(Platform.VENDOR_API,), page_size=10)
    return replace(made, **values)  # type: ignore[arg-type]


@pytest.mark.usefixtures("app")
def test_a_source_of_a_client_reads_that_clients_pipelines_only() -> None:
    mine, other = make_pipeline(make_client(name="Acme")), make_pipeline()

    by_name = targets_of(source_of(client="ACME"), SyncScope())
    by_id = targets_of(source_of(client=str(mine.client_id)), SyncScope())
    of_nobody = targets_of(source_of(client="acme"), SyncScope(client_id=other.client_id))

    assert [target.pipeline_id for target in by_name] == [mine.id]
    assert by_id == by_name
    assert of_nobody == []


@pytest.mark.usefixtures("app")
def test_a_source_of_a_client_that_is_not_there_says_so() -> None:
    with pytest.raises(NotFound, match="There is no client 'Nobody'"):
        targets_of(source_of(client="Nobody"), SyncScope())


def app_with(config: Config, path: Path, content: str) -> Flask:
    """An app whose sources' file says this."""
    path.write_text(content)
    return create_app(replace(config, sources_file=path))


def test_a_client_that_is_not_there_stops_its_source_alone_and_is_told(
    committed_app: Flask, config: Config, tmp_path: Path
) -> None:
    lost = MINIMAL.replace("vendor]", "lost]") + 'client = "Nobody"\n'
    with app_with(config, tmp_path / "s.toml", MINIMAL + lost).app_context():
        make_pipeline()

        job, _ = request_sync(scope=SyncScope())

        assert [source.name for source in job.sources] == ["vendor"]
        assert [one.last_error for one in read_signs().sources] == [None, "There is no client 'Nobody'."]


def test_a_paused_source_is_left_out_and_refused_when_asked_for(
    committed_app: Flask, config: Config, tmp_path: Path
) -> None:
    idle = MINIMAL.replace("vendor]", "idle]") + "paused = true\n"
    with app_with(config, tmp_path / "s.toml", MINIMAL + idle).app_context():
        make_pipeline()

        job, _ = request_sync(scope=SyncScope())

        assert [source.name for source in job.sources] == ["vendor"]
        with pytest.raises(Conflict, match="idle is paused"):
            request_sync(scope=SyncScope(source="idle"))


EVERY = timedelta(minutes=5)


def asked(minutes: int, **values: object) -> SourceSigns:
    """The signs of a source that was last asked for so many minutes ago."""
    return SourceSigns(source=source_of(**values), asked_at=NOW - timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("signs", "due"),
    [
        ((asked(1), asked(1, name="b")), [SyncScope()]),
        ((asked(1), asked(16, name="b", interval=900)), [SyncScope()]),
        ((asked(1), asked(13, name="b", interval=900)), [SyncScope()]),
        ((asked(1), asked(12, name="b", interval=900)), [SyncScope(source="vendor")]),
        ((asked(1, paused=True), asked(5, name="b", interval=900)), []),
        ((), [SyncScope()]),
    ],
)
def test_a_cycle_leaves_out_a_source_whose_interval_is_not_over(
    signs: tuple[SourceSigns, ...], due: list[SyncScope]
) -> None:
    assert due_scopes(Signs(sources=signs), now=NOW, every=EVERY) == due


@pytest.mark.parametrize(("minutes", "values"), [(40, {"interval": 900}), (10_000, {"paused": True})])
def test_a_source_with_an_interval_of_its_own_or_none_is_not_behind(minutes: int, values: dict[str, object]) -> None:
    signs = SourceSigns(source=source_of(**values), last_success_at=NOW - timedelta(minutes=minutes))
    assert behind_since(signs, now=NOW, every=EVERY) is None


def test_nothing_is_wrong_where_every_source_is_paused() -> None:
    assert find_problems(Signs(sources=(asked(1, paused=True),)), now=NOW, every=EVERY) == ()


# -- chm sources ----------------------------------------------------------------------------------------------------


def test_sources_are_listed_without_their_secrets(config: Config, tmp_path: Path) -> None:
    content = WHOLE.replace("env:VENDOR_TOKEN", "file:token")
    (tmp_path / "token").write_text(SECRET)

    done = app_with(config, tmp_path / "s.toml", content).test_cli_runner().invoke(sources, ["list"])

    assert done.exit_code == 0
    vendor, other = done.output.splitlines()
    assert vendor == (
        "vendor\tpartner\thttps://vendor.example/api\tfor vendor_api, custom\tof Acme\tevery 900 s\tpaused"
    )
    assert other == "other\tpartner\thttps://other.example\tfor vendor_api\tof all clients"


@pytest.mark.usefixtures("committed_app")
def test_check_tries_each_source_and_tells_what_is_wrong(
    config: Config, httpserver: HTTPServer, tmp_path: Path
) -> None:
    httpserver.expect_request("/good/pipelines/p/runs").respond_with_json(page())
    httpserver.expect_request("/bad/pipelines/p/runs").respond_with_data("no", status=401)
    tables = [
        f'[sources.{name}]\nkind = "partner"\nbase_url = "{base_url(httpserver)}/{name}"\n' for name in ("good", "bad")
    ]
    app = app_with(config, tmp_path / "s.toml", "".join(tables))
    with app.app_context():
        make_pipeline(external_id="p")
        runner = app.test_cli_runner()
        both, alone, nobody = (runner.invoke(sources, ["check", *names]) for names in ([], ["good"], ["x"]))

    assert both.exit_code == 1
    assert both.output.splitlines()[0] == "good: ok. It answers and lets us in. It serves 1 pipeline."
    assert both.output.splitlines()[1].startswith("bad: FAILED. localhost refused access (401)")
    assert (alone.exit_code, len(alone.output.splitlines())) == (0, 1)
    assert (nobody.exit_code, nobody.output) == (1, "Error: There is no source 'x'.\n")
