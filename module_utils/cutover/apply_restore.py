# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the backup into a new database and swap names with the present one, with psycopg. Nothing of others is dropped.

A database keeps its number when it is renamed, and both renames are one transaction: wherever this is killed, the names
are all old or all new, and the next call with the same suffix finds by marks what was done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from .apply_database import (
    EVERY_S,
    Connection,
    Database,
    Options,
    alone,
    connected,
    create_like,
    dress_like,
    drop_own,
    end_sessions,
    for_programs,
    in_words,
    mark,
    marked,
    must_be_there,
    one_row,
    read_database,
    refuse_missing_rights,
    set_open,
    set_setting,
)
from .backup import sha256_of
from .checks import judge
from .command import CannotRun
from .observe_postgres import connection_parameters
from .observe_rows import Digest, Rows, at_one_moment, compare, digests
from .restore import (
    CannotRestore,
    Loss,
    Mark,
    Next,
    Restored,
    Stage,
    TableName,
    loss_of,
    names,
    refuse_another_database,
    restored_checks,
    what_next,
)
from .restore_programs import Programs
from .ticks import ticks
from .verdict import Verdict

# A kept database is for reading: whoever connects by an old configuration writes nothing into it by accident.
KEPT_READ_ONLY = "default_transaction_read_only"


@dataclass(frozen=True, kw_only=True)
class Dump:
    """The backup: its file and its recorded SHA-256."""

    path: Path
    sha256: str

    def refuse_if_changed(self) -> None:
        """Raise ``CannotRestore`` when the file is not the one that was recorded."""
        try:
            found = sha256_of(self.path)
        except OSError as reason:
            raise CannotRestore(f"{self.path} cannot be read: {reason.strerror}") from None
        if found != self.sha256.lower():
            raise CannotRestore(f"{self.path} has SHA-256 {found}, and {self.sha256} was recorded: it is damaged")

    def identity(self) -> tuple[int, ...]:
        """What changes when somebody writes to the file, or puts another in its place."""
        found = self.path.stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@dataclass(kw_only=True)
class Story:
    """What one call has done so far; told also when it fails."""

    changed: bool = False
    kept_as: str | None = None
    restored_as: str | None = None
    loss: Loss = field(default_factory=Loss)
    counted: bool = False
    verdict: Verdict | None = None
    msg: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The parts of a module's result. What was not counted is null, and never empty."""
        nothing = dict.fromkeys(self.loss.to_dict())
        return {
            "changed": self.changed,
            "kept_as": self.kept_as,
            "restored_as": self.restored_as,
            "verdicts": [self.verdict.to_dict()] if self.verdict else [],
            **(self.loss.to_dict() if self.counted else nothing),
        }


class Restorer:
    """Brings one database back. ``options`` are those of the module."""

    def __init__(self, options: Options, programs: Programs, *, check_mode: bool) -> None:
        self.options, self.programs, self.check_mode = options, programs, check_mode
        self.where = connection_parameters(options)
        self.called = names(str(self.where["dbname"]), options["suffix"])
        self.dump = Dump(path=Path(options["src"]), sha256=options["sha256"])
        self.story = Story()
        self.judged_as: tuple[int, ...] = ()
        self.theirs: dict[TableName, Digest] = {}
        if self.called.present == options["maintenance_database"]:
            raise CannotRestore("maintenance_database is the database to bring back: name another one")

    def run(self) -> Story:
        """Do what is left to do. Raises ``CannotRestore``; ``story`` tells how far it came."""
        database, present = self.options["maintenance_database"], self.called.present
        with connected(self.options, database, autocommit=True) as admin, alone(admin, present):
            self._go_on(admin)
        return self.story

    def _go_on(self, admin: Connection) -> None:
        # First of all: what is refused afterwards must not stay closed.
        self._open_again(admin)
        todo = self._todo(admin)
        if todo is Next.NOTHING:
            self._already_done(admin)
            return
        self.judged_as = self.dump.identity()
        self.dump.refuse_if_changed()
        refuse_another_database(self.programs.listing(self.dump.path), self.called.present)
        present = must_be_there(admin, self.called.present)
        if not present.open:
            raise CannotRestore(
                f"{present.name!r} lets nobody connect, and this module has not closed it: "
                "ALTER DATABASE ... ALLOW_CONNECTIONS true"
            )
        with connected(self.options, present.name) as inside:
            refuse_missing_rights(admin, inside, present)
        if self.check_mode:
            self._foretell(todo)
            return
        if todo is not Next.SWAP:
            self._restore(admin, present, todo)
        self.story.restored_as = self.called.restored
        self._swap(admin, present)

    def _todo(self, admin: Connection) -> Next:
        found = [read_database(admin, name) for name in (self.called.present, self.called.restored, self.called.kept)]
        present, restored, kept = (database.place if database else None for database in found)
        return what_next(self.called, present, restored, kept, sha256=self.dump.sha256.lower())

    def _already_done(self, admin: Connection) -> None:
        own = must_be_there(admin, self.called.kept).place.mark
        told = dict(own.facts) if own else {}
        self.story.kept_as = self.called.kept
        self.story.msg = (
            f"{self.called.present!r} was brought back at {told.get('at')}, and nothing was changed now. "
            f"What it was then is kept as {self.called.kept!r}."
        )

    def _foretell(self, todo: Next) -> None:
        self.story.changed = True
        first = "swap in what an earlier call has restored" if todo is Next.SWAP else f"restore {self.dump.path}"
        self.story.msg = (
            f"Would {first} as {self.called.restored!r}, count what {self.called.present!r} has and the backup has "
            f"not, and keep {self.called.present!r} as {self.called.kept!r}. What would be lost is not known before: "
            "it takes the restored database to count it."
        )

    # --- the new database

    def _restore(self, admin: Connection, present: Database, todo: Next) -> None:
        new = self._new_database(admin, present, todo)
        try:
            self.programs.restore(self.dump.path, for_programs(self.where, new.name), jobs=self.options["jobs"])
            self._check(new)
            if self.dump.identity() != self.judged_as:
                raise CannotRestore(f"{self.dump.path} was changed while it was restored.")
            mark(admin, new.name, self._mark(Stage.RESTORED, present, new).to_text())
        except CannotRestore as reason:
            drop_own(admin, new.name)
            self.story.changed = False
            raise CannotRestore(
                f"{reason} {self.called.present!r} is untouched, and {new.name!r}, which was made for it, was dropped."
            ) from None

    def _new_database(self, admin: Connection, present: Database, todo: Next) -> Database:
        if todo is Next.START_AGAIN:
            drop_own(admin, self.called.restored)
        new = self._adopted(admin, present) if todo is Next.ADOPT else create_like(admin, present, self.called.restored)
        self.story.changed = True
        mark(admin, new.name, self._mark(Stage.RESTORING, present, new).to_text())
        try:
            # What it is given at the end is tried at once: what is refused is refused before hours of restoring.
            with admin.transaction(force_rollback=True):
                dress_like(admin, present, new.name)
        except psycopg.Error as reason:
            drop_own(admin, new.name)
            self.story.changed = False
            raise CannotRestore(
                f"a new database cannot be made as {present.name!r} is: {in_words(reason)}. It is untouched, and "
                f"{new.name!r}, which was made for it, was dropped."
            ) from None
        return new

    def _adopted(self, admin: Connection, present: Database) -> Database:
        """What a call made that was killed before it could mark it, which is nobody's: it is empty."""
        new = must_be_there(admin, self.called.restored)
        with connected(self.options, new.name) as inside:
            (empty,) = one_row(inside, _EMPTY)
        if not empty or (new.owner, new.made) != (present.owner, present.made):
            raise CannotRestore(f"there is a database {new.name!r} that this module has not made: name another suffix")
        return new

    def _mark(self, stage: Stage, present: Database, new: Database, **facts: Any) -> Mark:
        return Mark(
            stage=stage,
            suffix=self.options["suffix"],
            sha256=self.dump.sha256.lower(),
            present_oid=present.oid,
            restored_oid=new.oid,
            facts=facts,
        )

    def _check(self, new: Database) -> None:
        """Judge the restored database by what its dump holds; raises ``CannotRestore`` when it is not as that."""
        in_dump = self.programs.rows(self.dump.path)
        with connected(self.options, new.name) as connection:
            rows = at_one_moment(connection)
            self.theirs = digests(rows)
            counted = {name: count for name, (count, _, _) in self.theirs.items()}
            whole = {name: count for name, count in in_dump.items() if not _of_extension(rows, name)}
        amcheck, not_run = self._amcheck(new)
        self.story.verdict = Verdict(
            component="restore",
            subject=self.options["name"],
            address=self.options["address"],
            took_ms=sum(command["took_ms"] for command in self.programs.done),
            findings=judge(
                restored_checks(self.options["min_tables"], amcheck=not not_run),
                Restored(in_dump=whole, in_database=counted, amcheck=amcheck),
                reachable_remedy="",
            ),
            recorded={
                "dump": str(self.dump.path),
                "sha256": self.dump.sha256,
                "tables": len(in_dump),
                "rows": sum(in_dump.values()),
                "amcheck": not_run or "run",
            },
        )
        if not self.story.verdict.ok:
            wrong = [finding.check for finding in self.story.verdict.findings if not finding.ok]
            raise CannotRestore(f"the restored database is not what the dump holds ({', '.join(wrong)}).")

    def _amcheck(self, new: Database) -> tuple[str, str]:
        """``pg_amcheck``'s complaint, empty where there is none; and why it was not run, empty where it was."""
        with connected(self.options, new.name) as connection:
            (installed,) = one_row(connection, "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'")
        if not installed:
            return "", "not run: the database has no extension amcheck"
        try:
            sound, words = self.programs.amcheck(for_programs(self.where, new.name))
        except CannotRun as reason:
            return "", f"not run: {reason}"
        return "" if sound else words, ""

    # --- the swap

    def _swap(self, admin: Connection, present: Database) -> None:
        new = must_be_there(admin, self.called.restored)
        try:
            self._close_and_count(admin, present, new)
            self._rename(admin, present, new)
        except (Exception, KeyboardInterrupt) as reason:
            try:
                self._open_again(admin)
            except CannotRestore as again:
                raise CannotRestore(
                    f"{reason} {present.name!r} may still be closed to its clients: {again}. The next call with this "
                    "suffix opens it first"
                ) from None
            raise

    def _close_and_count(self, admin: Connection, present: Database, new: Database) -> None:
        """Leave the present database closed and without a session, when what it loses is accepted."""
        with connected(self.options, new.name) as ours, connected(self.options, present.name) as inside:
            restored = at_one_moment(ours)
            theirs = self.theirs or digests(restored)
            if not self.options["accept_data_loss"]:
                # Before anybody is disturbed.
                self._refuse_loss(at_one_moment(inside), restored, theirs)
                inside.rollback()
            self._close(admin, present, new, but=inside)
            self._refuse_loss(at_one_moment(inside), restored, theirs)

    def _refuse_loss(self, present: Rows, restored: Rows, theirs: Mapping[TableName, Digest]) -> None:
        found = [lost for _, lost in compare(present, restored, theirs)]
        self.story.loss = loss_of(
            found,
            ignore=self.options["ignore_tables"],
            only_present=sorted(".".join(name) for name in present.tables.keys() - restored.tables.keys()),
            only_restored=sorted(".".join(name) for name in restored.tables.keys() - present.tables.keys()),
        )
        self.story.counted = True
        if not self.story.loss.is_none and not self.options["accept_data_loss"]:
            raise CannotRestore(
                f"{self.called.present!r} has been written to since the backup. Going back to it loses: "
                f"{self.story.loss}. {self.called.present!r} is untouched. The restored database is kept as "
                f"{self.called.restored!r} for the next call, or to be dropped by hand. To lose this all the same, "
                "give accept_data_loss: true; with rollback.yml, -e rollback_accept_data_loss=true"
            )

    def _close(self, admin: Connection, present: Database, new: Database, *, but: Connection) -> None:
        mark(admin, new.name, self._mark(Stage.CLOSING, present, new).to_text())
        set_open(admin, present.name, to_clients=False)
        end_sessions(admin, present, but=[but.info.backend_pid], within_s=self.options["swap_timeout_s"])

    def _rename(self, admin: Connection, present: Database, new: Database) -> None:
        """Both names at once, and with them all that the present database is beside its contents.

        The server renames no database that anybody is in, and lets nobody in until the transaction has ended.
        """
        reason: psycopg.Error | None = None
        for _ in ticks(total_s=self.options["swap_timeout_s"], every_s=EVERY_S):
            try:
                with admin.transaction():
                    self._rename_both(admin, present, new)
            except (psycopg.errors.ObjectInUse, psycopg.errors.LockNotAvailable) as busy:
                reason = busy
                end_sessions(admin, new, but=[], within_s=self.options["swap_timeout_s"])
                continue
            self.story.kept_as, self.story.restored_as, self.story.changed = self.called.kept, None, True
            self.story.msg = (
                f"{self.called.present!r} is as the backup has it. What it was is kept as {self.called.kept!r}. Lost: "
                f"{self.story.loss if not self.story.loss.is_none else 'nothing'}."
            )
            return
        raise CannotRestore(f"{present.name!r} could not be renamed: {in_words(reason) if reason else 'no time'}")

    def _rename_both(self, admin: Connection, present: Database, new: Database) -> None:
        model = must_be_there(admin, present.name)
        if (model.oid, must_be_there(admin, new.name).oid) != (present.oid, new.oid):
            raise CannotRestore(f"{present.name!r} or {new.name!r} was replaced by somebody else")
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        admin.execute(rename.format(sql.Identifier(self.called.present), sql.Identifier(self.called.kept)))
        admin.execute(rename.format(sql.Identifier(self.called.restored), sql.Identifier(self.called.present)))
        dress_like(admin, model, self.called.present)
        mark(admin, self.called.present, model.comment)
        dressed = must_be_there(admin, self.called.present)
        if dressed.dress != model.dress:
            # Not what they are: a setting may hold a secret.
            raise CannotRestore(f"owner, limit, locale, settings or grants did not become as {present.name!r} has them")
        set_open(admin, self.called.kept, to_clients=True)
        set_setting(admin, sql.Identifier(self.called.kept), None, KEPT_READ_ONLY, "on")
        facts = {"was": present.name, "at": _now(), "comment": model.comment, **self.story.loss.to_dict()}
        mark(admin, self.called.kept, self._mark(Stage.KEPT, present, new, **facts).to_text())

    def _open_again(self, admin: Connection) -> None:
        """Let clients in again, also by a new connection when that of the administrator is gone."""
        try:
            self._open(admin)
        except psycopg.Error:
            with connected(self.options, self.options["maintenance_database"], autocommit=True) as another:
                self._open(another)

    def _open(self, admin: Connection) -> None:
        """Only what this module has closed is opened, under whatever suffix that was."""
        present = read_database(admin, self.called.present)
        for name, own in marked(admin).items():
            if own.stage is Stage.CLOSING and present and own.present_oid == present.oid:
                if self.check_mode:
                    raise CannotRestore(
                        f"an earlier call was killed and has left {present.name!r} closed to its clients: run this "
                        "without check mode, which opens it first"
                    )
                set_open(admin, present.name, to_clients=True)
                mark(admin, name, own.at(Stage.RESTORED).to_text())


# The server's own objects have numbers below 16384 (FirstNormalObjectId).
_EMPTY: LiteralString = """
    SELECT NOT EXISTS (
        SELECT FROM (
            SELECT oid FROM pg_class UNION ALL SELECT oid FROM pg_proc UNION ALL SELECT oid FROM pg_type
            UNION ALL SELECT oid FROM pg_namespace UNION ALL SELECT oid FROM pg_extension
            UNION ALL SELECT oid FROM pg_largeobject_metadata
        ) AS objects WHERE oid >= 16384
    )
"""


def _of_extension(rows: Rows, name: TableName) -> bool:
    return name in rows.tables and rows.tables[name].of_extension


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
