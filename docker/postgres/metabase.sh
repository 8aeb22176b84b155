#!/bin/sh
# Once, when PostgreSQL's volume is new: the database in which Metabase keeps what is its own.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set password="$METABASE_DATABASE_PASSWORD" \
    --username "$POSTGRES_USER" --dbname postgres <<'END'
CREATE ROLE metabase LOGIN PASSWORD :'password';
CREATE DATABASE metabase OWNER metabase;
REVOKE CONNECT ON DATABASE metabase FROM PUBLIC;
END
