"""The schema's migrations, by Alembic, and what keeps them from locking anybody out (docs/migrations.md)."""
