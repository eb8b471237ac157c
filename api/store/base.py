"""The database: sessions, column types, and the base class of records.

Store functions take the session first. They flush and never commit: the `with` block of the
caller is the transaction.
"""

from __future__ import annotations

import functools
import sqlite3
import threading
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import orjson
from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Engine,
    LargeBinary,
    MetaData,
    String,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    declared_attr,
    mapped_column,
)
from sqlalchemy.types import JSON, TypeDecorator

SQLITE_PAGE_BYTES = 16_384
"""Page size of SQLite files.

Blocks are read as fast as with 64 KiB, and small commits are twice as fast (ADR 0003).
"""

WAL_BYTES = 64 << 20
"""Size to which SQLite truncates its log (`-wal`) when the log restarts."""

INCREMENTAL = 2
"""Value of PRAGMA auto_vacuum for a file that shrinks on request."""

BUSY_MILLISECONDS = 10_000
"""Time that a writer on SQLite waits for another writer before its request gets 503."""

RETRY_SECONDS = 0.0005
"""Pause between two attempts of a process to get the write lock of SQLite."""

IMMEDIATE = "BEGIN IMMEDIATE"

# Names of text columns sort by code point on both databases.
Name = String(200).with_variant(String(200, collation="C"), "postgresql")
Document = JSON(none_as_null=True)
Blob = LargeBinary


class NotFound(Exception):  # noqa: N818 - named for what it is
    """There is no such record."""

    def __init__(self, kind: str, record_id: str) -> None:
        super().__init__(f"There is no {kind} {record_id!r}.")


class InUse(Exception):  # noqa: N818
    """Other records need this one."""


class NotReady(Exception):  # noqa: N818
    """The state of the record does not allow the operation."""


class Stale(Exception):  # noqa: N818
    """The record has a different version than the caller expects."""

    def __init__(self, current: int) -> None:
        super().__init__(f'The record has changed; its ETag is now "{current}".')


class Timestamp(TypeDecorator[datetime]):
    """A time in UTC, timezone-aware in Python on both databases."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and dialect.name == "sqlite":
            return value.astimezone(UTC).replace(tzinfo=None)
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            # `replace` takes four times as long.
            return datetime.combine(value, value.time(), UTC)
        return value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base class of all tables."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        }
    )
    # Counts of cells pass 2**31.
    type_annotation_map = {int: BigInteger}  # noqa: RUF012 - SQLAlchemy's own way to say it


class Record(Base):
    """Base class of datasets, fits, mappings and exports.

    The write itself checks the version: an UPDATE or DELETE that finds a different one raises
    StaleDataError, which becomes 412.
    """

    __abstract__ = True

    unlisted: ClassVar[tuple[str, ...]] = ()
    """Columns that lists neither show nor read."""

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(Name)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(Timestamp)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy hands in the class
        return {"version_id_col": cls.version}

    def as_dict(self) -> dict[str, Any]:
        """Return the columns by name."""
        return {column.key: getattr(self, column.key) for column in self.__table__.columns}

    @classmethod
    def make_listed(cls, columns: dict[str, Any]) -> dict[str, Any]:
        """Make the fields of a record in a list from the columns that lists read."""
        return columns


R = TypeVar("R", bound=Record)


def new_id() -> str:
    return uuid.uuid4().hex


def now() -> datetime:
    return datetime.now(UTC)


class Database:
    """An engine and its two kinds of transaction."""

    def __init__(self, url: str | URL) -> None:
        self.url = make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        if self.sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_engine(
            self.url,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            # Errors go to the log, and parameters include names and ids of records.
            hide_parameters=True,
            # A connection that died with a restarted server is replaced, not handed out.
            pool_pre_ping=not self.sqlite,
            pool_size=16,
            max_overflow=16,
        )
        if self.sqlite:
            _prepare_sqlite(self.engine)
            self._reader: Engine = self.engine
            self._writer: Engine = self.engine.execution_options(begin=IMMEDIATE)
            self._modest: Engine = self._writer.execution_options(patience=0.0)
        else:
            # Two statements of one reader see the same records.
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ")
            self._writer = self._modest = self.engine
            _prepare_postgresql(self.engine)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that only reads: it sees one state and blocks nobody."""
        with Session(self._reader, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def writing(self, *, wait: bool = True) -> Iterator[Session]:
        """Open a transaction that is committed at the end of the block, or not at all.

        Without `wait`, it raises OperationalError on SQLite if another transaction is writing.
        """
        engine = self._writer if wait else self._modest
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def settle(self, how: Literal["TRUNCATE", "PASSIVE"] = "TRUNCATE") -> None:
        """Move the log of SQLite into the main file.

        `TRUNCATE` waits for other connections and empties the log; `PASSIVE` waits for nobody.
        """
        if self.sqlite:
            with closing(sqlite3.connect(self.url.database or "")) as connection:
                connection.execute(f"PRAGMA wal_checkpoint({how})")

    def close(self) -> None:
        self.engine.dispose()


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        # The driver starts its own transactions late and loses updates; ours start with BEGIN.
        connection.isolation_level = None
        connection.execute(f"PRAGMA page_size={SQLITE_PAGE_BYTES}")
        # auto_vacuum adds a page map: a curve can be read without the earlier pages of its block
        # (ADR 0010), and the file can shrink. Setting the PRAGMA again would be a write, which
        # waits for other writers.
        if connection.execute("PRAGMA auto_vacuum").fetchone() != (INCREMENTAL,):
            connection.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
        for pragma in (
            f"busy_timeout={BUSY_MILLISECONDS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"journal_size_limit={WAL_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    # One thread of a process tries to get the write lock; the others wait for their turn.
    turn = threading.Lock()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        options = connection.get_execution_options()
        if options.get("begin") != IMMEDIATE:
            connection.exec_driver_sql("BEGIN")
            return
        seconds = options.get("patience", BUSY_MILLISECONDS / 1000)
        deadline = time.monotonic() + seconds
        mine = turn.acquire(timeout=seconds)
        try:
            _begin_to_write(connection, deadline)
        finally:
            if mine:
                turn.release()


def _begin_to_write(connection: Any, deadline: float) -> None:
    """Begin as soon as nobody else writes; raise OperationalError at the deadline.

    SQLite itself retries only ten times a second, so with many writers a few of them could fail
    each time for seconds.
    """
    raw = connection.connection.driver_connection
    raw.execute("PRAGMA busy_timeout=0")
    try:
        while time.monotonic() < deadline:
            try:
                raw.execute(IMMEDIATE)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    break
                time.sleep(RETRY_SECONDS)
            else:
                return
        # The last attempt goes through SQLAlchemy, because callers handle its errors.
        connection.exec_driver_sql(IMMEDIATE)
    finally:
        raw.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")


def _prepare_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "before_cursor_execute")
    def _before(_connection: Any, cursor: Any, *statement: Any) -> None:
        _, _, context, _ = statement
        if context is not None and context.execution_options.get("binary"):
            cursor.format = 1


BINARY = {"binary": True}
"""Execution options of a query for blobs: PostgreSQL sends them in binary, four times as fast."""


def insert_rows(connection: Connection, model: type[Base], rows: list[tuple[Any, ...]]) -> None:
    """Insert rows of plain numbers, text and bytes, with all columns of the table in order.

    This bypasses SQLAlchemy, which would process each value and take as long as the database.
    """
    connection.exec_driver_sql(_insert(model, connection.dialect), rows)


@functools.lru_cache(maxsize=32)
def _insert(model: type[Base], dialect: Dialect) -> str:
    quote = dialect.identifier_preparer.quote
    names = [quote(column.name) for column in model.__table__.columns]
    marks = ["?" if dialect.paramstyle == "qmark" else "%s"] * len(names)
    table = quote(model.__tablename__)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(marks)})"  # noqa: S608


def find(session: Session, model: type[R], record_id: str, *, lock: bool = False) -> R:
    """Return a record, or raise NotFound; `lock` keeps other writers out until the commit."""
    # PostgreSQL raises an error for NUL. SQLite needs no lock: it has one writer at a time.
    record = None if "\0" in record_id else session.get(model, record_id, with_for_update=lock)
    if record is None:
        raise NotFound(model.__name__.lower(), record_id)
    return record


def find_version(
    session: Session, model: type[R], record_id: str, versions: Collection[int] | None
) -> R:
    """Return a locked record for changing it; Stale if its version is not in `versions`.

    None allows any version.
    """
    record = find(session, model, record_id, lock=True)
    if versions is not None and record.version not in versions:
        raise Stale(record.version)
    return record
