# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken on purpose: begins well, then refers to a column that does not exist."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("ix_requests_payment_reference", "requests", ["payment_reference"])
    op.execute("ALTER TABLE requests ALTER COLUMN bank_reference SET NOT NULL")


def downgrade() -> None:
    op.drop_index("ix_requests_payment_reference", "requests")
