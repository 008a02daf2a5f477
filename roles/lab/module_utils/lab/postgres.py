"""Make a PostgreSQL cluster before its server ever listens."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .trouble import Trouble

INITDB_OPTIONS = ("--no-sync", "--auth=reject", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums")
FIRST_OID_OF_OURS = 16384  # FirstNormalObjectId in access/transam.h
COMPLAINTS = ("ERROR:", "FATAL:", "error:")


@dataclass(frozen=True)
class Cluster:
    """A cluster: `folder` holds data/ and the configuration; `run_as` is put before each command."""

    folder: Path
    binaries: Path
    run_as: Sequence[str]

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def complete(self) -> Path:
        """Exists when the cluster was made to the end."""
        return self.folder / "complete"


def version_conflict(cluster: Cluster) -> str | None:
    """The sentence for a data directory made by another major version than the binaries."""
    try:
        made_by = (cluster.data / "PG_VERSION").read_text().strip()
    except OSError:
        return None
    # Debian: /usr/lib/postgresql/<major>/bin
    if made_by == cluster.binaries.parent.name:
        return None
    return (
        f"{cluster.data} was made by PostgreSQL {made_by}, and {cluster.binaries} is another version: "
        "install that one again, or `make clean` and start afresh."
    )


def initialise(cluster: Cluster, statements: Sequence[Mapping[str, Any]]) -> bool:
    """Make the cluster and run the statements ([{database, run: [..]}, ..]); whether there was anything to do.

    The statements hold passwords: they go through the standard input of a single-user server
    (https://www.postgresql.org/docs/15/app-postgres.html), so no argument list, log or network ever sees them.
    """
    if cluster.complete.exists():
        return False
    # An earlier attempt was interrupted; nobody can have used what it left.
    shutil.rmtree(cluster.data, ignore_errors=True)
    _run(cluster, ["initdb", *INITDB_OPTIONS, "-D", str(cluster.data)])
    # pg_dump takes what has a lower number for the server's own, and leaves it out; a single-user server gives such.
    _run(cluster, ["pg_resetwal", f"--next-oid={FIRST_OID_OF_OURS}", "-D", str(cluster.data)])
    for batch in statements:
        # A single-user server takes each line for a statement.
        text = "".join(f"{' '.join(statement.split())}\n" for statement in batch["run"])
        _run(cluster, _single_user(cluster, batch["database"]), text)
    cluster.complete.touch(mode=0o600)
    return True


def _single_user(cluster: Cluster, database: str) -> list[str]:
    options = {
        "exit_on_error": "on",  # otherwise a failed statement goes unnoticed
        "log_min_error_statement": "panic",
        "fsync": "off",  # the first start of the server makes all durable
    }
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return ["postgres", "--single", "-D", str(cluster.data), *settings, database]


def _run(cluster: Cluster, command: Sequence[str], text: str = "") -> None:
    argv = [*cluster.run_as, str(cluster.binaries / command[0]), *command[1:]]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, cwd="/", timeout=60, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        reason = next((line for line in lines if any(word in line for word in COMPLAINTS)), lines[-1])
        raise Trouble(f"PostgreSQL could not be made in {cluster.folder}: {command[0]} said: {reason[:300]}")
