"""The hash of the record that made a run what it is: a replay is told by it, without asking the write rule.

Nullable and without a default, so that no row is rewritten: the lock on the table is held for a moment, whatever its
size. Rows from before hold null and are compared value by value, as ever.

Revision: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("runs", sa.Column("content_hash", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("runs", "content_hash")
