"""CHM: client health monitoring."""

from __future__ import annotations

from flask import Flask

from chm_web.config import ROOT, Config


def create_app(config: Config | None = None, *, answers_requests: bool = False, session_name: str = "chm") -> Flask:
    """Make the web app: pages and REST API, wired to the services that ``config`` names (default: the environment's).

    Args:
        config: what it is told from outside.
        answers_requests: no SQL statement may take longer than the configuration allows: people wait for it. Workers,
            migrations and other commands take the time that they need. Statements are planned for their values, but
            for those of ``services.plans``.
        session_name: what the database calls the app's sessions (``application_name``), for whoever looks who is there.

    Raises:
        ConfigError: the environment does not describe a configuration that can work.
    """
    from chm_web import api, errors, hosts, query_strings, request_ends, request_ids, web
    from chm_web.access import guard, oidc, proxy, sessions, sign_in
    from chm_web.extensions import csrf, htmx

    app = create_core(config, answers_requests=answers_requests, session_name=session_name)
    query_strings.init_app(app)
    request_ids.init_app(app)
    hosts.init_app(app)
    sessions.init_app(app)
    sign_in.init_app(app)
    oidc.init_app(app)
    proxy.init_app(app)
    guard.init_app(app)
    csrf.init_app(app)
    htmx.init_app(app)
    api.init_app(app)
    web.init_app(app)
    errors.init_app(app)
    request_ends.init_app(app)
    return app


def create_core(config: Config | None = None, *, answers_requests: bool = False, session_name: str = "chm") -> Flask:
    """Make an app without pages and without API: what workers, the schedule and most commands run in.

    It starts in half the time: most of what ``create_app`` imports answers requests. It takes what that does, and
    raises ConfigError where what it uses of the configuration cannot work: how people sign in is none of it.
    """
    from chm_web.extensions import connect_arguments, db, migrate
    from chm_web.ingestion import queue
    from chm_web.json_answers import JsonProvider
    from chm_web.queries import RANDOM_PAGE_COST
    from chm_web.services.redaction import remember_secret

    config = config or Config.from_env()
    for secret in config.secrets():
        remember_secret(secret)
    settings: dict[str, object] = {"timezone": "UTC", "random_page_cost": RANDOM_PAGE_COST}
    if answers_requests:
        settings["statement_timeout"] = f"{config.statement_timeout_seconds}s"
        # By itself PostgreSQL may settle on one plan for all lengths of windows and all filters.
        settings["plan_cache_mode"] = "force_custom_plan"
    app = Flask(__name__, template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "static"))
    app.json = JsonProvider(app)
    app.config.from_mapping(
        CHM=config,
        SECRET_KEY=config.secret_key,
        SQLALCHEMY_DATABASE_URI=config.database_url,
        SQLALCHEMY_ENGINE_OPTIONS={
            # A restarted database costs a reconnect, not an error page.
            "pool_pre_ping": True,
            "connect_args": connect_arguments(session_name, settings),
        },
        MAX_CONTENT_LENGTH=config.max_request_bytes,
        WTF_CSRF_TIME_LIMIT=None,
    )
    db.init_app(app)
    migrate.init_app(app, db, directory=str(ROOT / "migrations"))
    queue.init_app(app)
    return app
