# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's tables."""

from alembic import op

revision = "0001"
down_revision = None

# In the order of their references.
TABLES = {
    "users": """
        id serial PRIMARY KEY, username varchar(200) NOT NULL UNIQUE, password_hash varchar(200) NOT NULL,
        role varchar(200) NOT NULL, created_at timestamptz NOT NULL""",
    "vendors": "id serial PRIMARY KEY, name varchar(200) NOT NULL UNIQUE",
    "sites": "id serial PRIMARY KEY, vendor_id integer NOT NULL REFERENCES vendors, name varchar(200) NOT NULL",
    "batches": """
        id serial PRIMARY KEY, code varchar(200) NOT NULL UNIQUE, site_id integer NOT NULL REFERENCES sites,
        status varchar(200) NOT NULL, created_at timestamptz NOT NULL""",
    "supplies": """
        batch_id integer REFERENCES batches, vendor_id integer REFERENCES vendors, qty numeric(14, 2) NOT NULL,
        PRIMARY KEY (batch_id, vendor_id)""",
    "shipments": """
        batch_id integer REFERENCES batches, customer varchar(200), lot varchar(200), qty numeric(14, 2) NOT NULL,
        PRIMARY KEY (batch_id, customer, lot)""",
    "requests": """
        id serial PRIMARY KEY, batch_id integer NOT NULL REFERENCES batches, beneficiary varchar(200) NOT NULL,
        amount numeric(14, 2) NOT NULL, status varchar(200) NOT NULL, created_by varchar(200) NOT NULL,
        created_at timestamptz NOT NULL""",
    "idempotency_keys": """
        scope varchar(200), key varchar(200), digest varchar(200) NOT NULL, answer json,
        created_at timestamptz NOT NULL, PRIMARY KEY (scope, key)""",
    "audit_packs": """
        id uuid PRIMARY KEY, from_ts timestamptz NOT NULL, to_ts timestamptz NOT NULL, notes varchar(200) NOT NULL,
        checksums_sha256 varchar(200) NOT NULL, created_by varchar(200) NOT NULL, created_at timestamptz NOT NULL""",
    "job_runs": """
        id serial PRIMARY KEY, job varchar(200) NOT NULL, slot varchar(200) NOT NULL UNIQUE,
        status varchar(200) NOT NULL, host varchar(200), detail json, queued_at timestamptz NOT NULL,
        started_at timestamptz, finished_at timestamptz""",
    "kpi_daily": """
        day date PRIMARY KEY, batches integer NOT NULL, requests integer NOT NULL,
        amount_paid numeric(14, 2) NOT NULL, computed_at timestamptz NOT NULL""",
}
INDEXES = {
    "batches": ["created_at"],
    "requests": ["beneficiary", "created_at"],
    "job_runs": ["job", "queued_at"],
}


def upgrade() -> None:
    for table, columns in TABLES.items():
        op.execute(f"CREATE TABLE {table} ({columns})")
    for table, columns in INDEXES.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
