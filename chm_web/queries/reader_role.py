"""The SQL of the role that dashboards read as: it may read the schema ``reporting`` and do nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.sql import SQL, Composed, Identifier, Literal

from chm_web.queries import RANDOM_PAGE_COST

# A dashboard that opens all its panels at once must leave connections for CHM itself.
CONNECTION_LIMIT = 20

# Nobody's dashboard may run on and on, nor hold back VACUUM by an open transaction. The planner's settings are those
# that the queries were measured with: they read little of a large table, through indexes, with other values each time.
SETTINGS = {
    "default_transaction_read_only": "on",
    "idle_in_transaction_session_timeout": "60s",
    "search_path": "reporting",
    "timezone": "UTC",
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "random_page_cost": RANDOM_PAGE_COST,
    "work_mem": "16MB",
}

WHERE_AM_I = "SELECT current_database(), current_user"

# What a role may be that is none of ours: changing or dropping it would do harm.
SUSPICIONS = """
    SELECT r.rolname = current_user AS itself,
        r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls AS powerful,
        EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid) AS member,
        EXISTS (SELECT FROM pg_shdepend d WHERE d.refobjid = r.oid AND d.deptype = 'o') AS owner
    FROM pg_roles r
    WHERE r.rolname = %s
"""

# For the record of changes.
WHAT_IT_MAY = """
    SELECT
        (SELECT string_agg(c.relname, ', ' ORDER BY c.relname) FROM pg_class c
         WHERE c.relnamespace = to_regnamespace('reporting') AND c.relkind IN ('r', 'v', 'm')
             AND has_table_privilege(r.oid, c.oid, 'SELECT')) AS may_read,
        (SELECT split_part(setting, '=', 2) FROM unnest(r.rolconfig) AS setting
         WHERE starts_with(setting, 'statement_timeout=')) AS statement_timeout
    FROM pg_roles r
    WHERE r.rolname = %s
"""

# What the role may do beyond reading: by rights that everybody has here, and that only others can take away.
LEFT_OPEN = """
    SELECT 'make temporary tables here: REVOKE TEMPORARY ON DATABASE '
        || quote_ident(current_database()) || ' FROM PUBLIC'
    WHERE has_database_privilege(%(role)s, current_database(), 'TEMPORARY')
    UNION ALL
    SELECT 'create things in the schema public: REVOKE CREATE ON SCHEMA public FROM PUBLIC'
    WHERE has_schema_privilege(%(role)s, 'public', 'CREATE')
    UNION ALL
    SELECT 'make large objects: REVOKE EXECUTE ON FUNCTION lo_creat(int), lo_create(oid), lo_from_bytea(oid, bytea) '
        || 'FROM PUBLIC'
    WHERE has_function_privilege(%(role)s, 'pg_catalog.lo_create(oid)', 'EXECUTE')
    UNION ALL
    SELECT 'read ' || c.oid::regclass || ': REVOKE ALL ON ' || c.oid::regclass || ' FROM PUBLIC'
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_'
        AND n.nspname NOT IN ('information_schema', 'reporting')
        AND has_schema_privilege(%(role)s, n.oid, 'USAGE') AND has_table_privilege(%(role)s, c.oid, 'SELECT')
    UNION ALL
    SELECT 'connect to the database ' || quote_ident(d.datname) || ': REVOKE CONNECT ON DATABASE '
        || quote_ident(d.datname) || ' FROM PUBLIC'
    FROM pg_database d
    WHERE d.datallowconn AND NOT d.datistemplate AND d.datname <> current_database()
        AND has_database_privilege(%(role)s, d.oid, 'CONNECT')
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The role, the database it reads, and the role that CHM itself works as."""

    role: str
    database: str
    app_role: str

    def names(self) -> Mapping[str, Any]:
        """The names as identifiers, and the role as a value too."""
        return {
            "role": Identifier(self.role),
            "database": Identifier(self.database),
            "app_role": Identifier(self.app_role),
            "role_name": Literal(self.role),
        }


def grant_statements(
    place: Place, *, verifier: str | None, with_error_texts: bool, statement_timeout_seconds: int
) -> list[Composed]:
    """Give the statements that make the role, or put right the one that is there.

    Args:
        place: which role, and where.
        verifier: what PostgreSQL keeps of the password; None leaves the present one.
        with_error_texts: whether it may read ``reporting.run_errors``.
        statement_timeout_seconds: how long a statement of it may take.
    """
    names = place.names()
    password = SQL(" PASSWORD {}").format(Literal(verifier)) if verifier else SQL("")
    settings = {"statement_timeout": f"{statement_timeout_seconds}s", **SETTINGS}
    texts = "GRANT SELECT ON reporting.run_errors TO" if with_error_texts else "REVOKE ALL ON reporting.run_errors FROM"
    return [
        SQL(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {role_name}) THEN "
            "CREATE ROLE {role}; END IF; END $$"
        ).format(**names),
        SQL("ALTER ROLE {role} LOGIN CONNECTION LIMIT {limit}{password}").format(
            limit=Literal(CONNECTION_LIMIT), password=password, **names
        ),
        *(
            SQL("ALTER ROLE {role} SET {name} = {value}").format(name=Identifier(name), value=Literal(value), **names)
            for name, value in settings.items()
        ),
        SQL("GRANT CONNECT ON DATABASE {database} TO {role}").format(**names),
        SQL("GRANT USAGE ON SCHEMA reporting TO {role}").format(**names),
        SQL("GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO {role}").format(**names),
        SQL("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA reporting TO {role}").format(**names),
        SQL("{texts} {role}").format(texts=SQL(texts), **names),
        # CHM stages runs in a temporary table: it keeps the right that everybody else loses.
        SQL("GRANT TEMPORARY ON DATABASE {database} TO {app_role}").format(**names),
        SQL("REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC").format(**names),
        SQL("REVOKE CREATE ON SCHEMA public FROM PUBLIC").format(**names),
    ]


def revoke_statements(place: Place) -> list[Composed]:
    """Give the statements that take the role's rights in this database away; ``drop_statement`` may follow."""
    names = place.names()
    return [
        SQL("REVOKE ALL ON ALL TABLES IN SCHEMA reporting FROM {role}").format(**names),
        SQL("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA reporting FROM {role}").format(**names),
        SQL("REVOKE ALL ON SCHEMA reporting FROM {role}").format(**names),
        SQL("REVOKE ALL ON DATABASE {database} FROM {role}").format(**names),
    ]


def drop_statement(place: Place) -> Composed:
    """Give the statement that drops the role; refused while it has rights in another database."""
    return SQL("DROP ROLE {role}").format(**place.names())
