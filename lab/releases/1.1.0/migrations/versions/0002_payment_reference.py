# SPDX-License-Identifier: GPL-3.0-or-later
"""A payment may carry the bank's reference. Adds only: release 1.0.0 goes on reading and writing beside it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("requests", sa.Column("payment_reference", sa.String(200), nullable=True))


def downgrade() -> None:
    op.drop_column("requests", "payment_reference")
