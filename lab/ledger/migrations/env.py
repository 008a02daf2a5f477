# SPDX-License-Identifier: GPL-3.0-or-later
"""Alembic's door to the database: the ledger's own settings and secrets, one migration at a time."""

from __future__ import annotations

from alembic import context as migration
from alembic.util import CommandError
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from ledger import context as contexts
from ledger import settings
from ledger.models import Base

# Two hosts may migrate at once: the second waits for the first, for ten seconds.
ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7205759403)")


def migrate() -> None:
    contexts.configure_logging()
    try:
        loaded = settings.load()
        url = contexts.database_url(loaded, contexts.read_secrets(loaded, ["database"]))
    except settings.RefusedStart as refusal:
        raise CommandError(str(refusal)) from None
    engine = create_engine(url, connect_args={"connect_timeout": 5, "options": "-c lock_timeout=10000"})
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise CommandError(f"cannot connect to the database: {error.orig}") from None
    with connection:
        migration.configure(connection=connection, target_metadata=Base.metadata)
        with migration.begin_transaction():
            connection.execute(ONE_AT_A_TIME)
            migration.run_migrations()


migrate()
