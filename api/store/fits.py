"""Fits: the record, which is also the job, and its matches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Dialect, ForeignKey, String, TypeDecorator, bindparam, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.store.base import Base, Database, Document, Name, find, insert_rows
from api.store.jobs import Job, index_queue
from api.store.lists import Page, index_lists
from services.scoring.matches import MATCH_FIELDS as FIELDS
from services.scoring.matches import Match
from services.scoring.options import FitOptions

ROWS = 16_384
"""Matches read by one query."""


class Fit(Job):
    """Record of a fit: its datasets, its options, and its state as a job."""

    __tablename__ = "fits"
    __table_args__ = (*index_lists("training_id", "ideal_id", "state"), index_queue())

    training_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    ideal_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    criterion: Mapped[str] = mapped_column(String(8))
    transform: Mapped[str] = mapped_column(String(8))
    alignment: Mapped[str] = mapped_column(String(8))
    x_tolerance: Mapped[float | None]
    outside: Mapped[str] = mapped_column(String(8))
    min_overlap: Mapped[float]
    top_k: Mapped[int]
    training_curves: Mapped[list[str] | None] = mapped_column(Document)
    ideal_curves: Mapped[list[str] | None] = mapped_column(Document)
    training_sha256: Mapped[str] = mapped_column(String(64))
    ideal_sha256: Mapped[str] = mapped_column(String(64))
    n_training: Mapped[int]
    n_ideal: Mapped[int]
    engine: Mapped[str] = mapped_column(String(32))
    sign: Mapped[str] = mapped_column(String(8))

    @property
    def options(self) -> FitOptions:
        """The options in the form that services take."""
        return FitOptions(
            self.criterion,  # type: ignore[arg-type] # the schema allows the three words only
            self.transform,  # type: ignore[arg-type]
            self.alignment,  # type: ignore[arg-type]
            self.x_tolerance,
            self.outside,  # type: ignore[arg-type]
            self.min_overlap,
            self.top_k,
            self.sign,  # type: ignore[arg-type]
        )


class Codes(TypeDecorator[list[str]]):
    """Type of a column of codes, which are stored as text, with a space between."""

    impl = String
    cache_ok = True

    @property
    def python_type(self) -> type[list[str]]:
        """Type of a value in Python."""
        return list

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> str | None:
        """Join codes."""
        del dialect
        return None if value is None else " ".join(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[str] | None:
        """Split codes."""
        del dialect
        return None if value is None else value.split()


class FitMatch(Base):
    """One library curve in the ranking of one training curve."""

    __tablename__ = "matches"

    fit_id: Mapped[str] = mapped_column(ForeignKey("fits.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    training: Mapped[str] = mapped_column(Name)
    training_index: Mapped[int]
    rank: Mapped[int]
    ideal: Mapped[str] = mapped_column(Name)
    ideal_index: Mapped[int]
    score: Mapped[float]
    sse: Mapped[float | None]
    rmse: Mapped[float | None]
    mae: Mapped[float | None]
    max_deviation: Mapped[float | None]
    r2: Mapped[float | None]
    n: Mapped[int]
    scale: Mapped[float]
    offset: Mapped[float]
    correlation: Mapped[float | None]
    cosine: Mapped[float | None]
    margin: Mapped[float | None]
    warnings: Mapped[list[str] | None] = mapped_column(Codes(120))


MATCH_FIELDS = tuple(field.name for field in FIELDS)
"""Columns of a match, in the order of the contract."""


_COLUMNS = (*(FitMatch.__table__.c[name] for name in MATCH_FIELDS), FitMatch.ordinal)

_FIRST = (
    select(*_COLUMNS, FitMatch.fit_id)
    .where(FitMatch.fit_id.in_(bindparam("fit_ids", expanding=True)))
    .where(FitMatch.ordinal <= bindparam("limit"))
    .order_by(FitMatch.ordinal)
)

MatchFields = tuple[Any, ...]
"""Values of `MATCH_FIELDS` of one match."""


def match_dict(match: MatchFields) -> dict[str, Any]:
    """Return the fields of a match by name."""
    return dict(zip(MATCH_FIELDS, match, strict=True))


def add_matches(
    session: Session,
    fit: Fit,
    matches: Sequence[Match],
    training_names: dict[int, str],
    ideal_names: dict[int, str],
) -> None:
    """Store the matches of a fit."""
    rows = []
    for ordinal, match in enumerate(matches):
        training, ideal = training_names[match.training_index], ideal_names[match.ideal_index]
        fields = match._asdict() | {"training": training, "ideal": ideal}
        # These rows bypass the types of SQLAlchemy, so `Codes` does not join them.
        fields["warnings"] = " ".join(match.warnings)
        rows.append((fit.id, ordinal, *(fields[name] for name in MATCH_FIELDS)))
    if rows:
        insert_rows(session.connection(), FitMatch, rows)


def read_page_of_matches(
    session: Session, fit: Fit, filters: dict[str, Any], *, after: int = -1, limit: int = 100
) -> Page:
    """Return the fields of matches after position `after`, by training curve and then rank.

    `filters` are values of `training` and `rank`; None means any.
    """
    query = select(*_COLUMNS).where(*_wanted(fit, filters, after))
    rows = session.execute(query.order_by(FitMatch.ordinal).limit(limit + 1)).all()
    items = [tuple(row)[:-1] for row in rows[:limit]]
    return Page(items, [rows[limit - 1].ordinal] if len(rows) > limit else None)


def send_matches(
    database: Database, fit: Fit, filters: dict[str, Any], after: int = -1
) -> Iterator[list[MatchFields]]:
    """Yield the fields of all matches after position `after`, in parts.

    The client may be slow, so each part is read in its own transaction. The parts agree, because
    matches never change. Raises NotFound if the fit is deleted in between.
    """
    while True:
        query = select(*_COLUMNS).where(*_wanted(fit, filters, after))
        with database.reading() as session:
            find(session, Fit, fit.id)
            rows = session.execute(query.order_by(FitMatch.ordinal).limit(ROWS)).all()
        if rows:
            after = rows[-1].ordinal
            yield [tuple(row)[:-1] for row in rows]
        if len(rows) < ROWS:
            return


def _wanted(fit: Fit, filters: dict[str, Any], after: int) -> list[ColumnElement[bool]]:
    given = {name: value for name, value in filters.items() if value is not None}
    equal = [FitMatch.__table__.c[name] == value for name, value in given.items()]
    return [FitMatch.fit_id == fit.id, FitMatch.ordinal > after, *equal]


def read_first_matches(session: Session, fits: Sequence[Fit], limit: int) -> dict[str, Page]:
    """Return the first page of matches of each fit, fields of them.

    It is empty unless the fit succeeded.
    """
    rows: dict[str, list[MatchFields]] = {fit.id: [] for fit in fits}
    ended = [fit.id for fit in fits if fit.state == "succeeded"]
    for row in session.execute(_FIRST, {"fit_ids": ended, "limit": limit}):
        rows[row.fit_id].append(tuple(row)[:-2])
    return {
        fit_id: Page(found[:limit], [limit - 1] if len(found) > limit else None)
        for fit_id, found in rows.items()
    }


def read_chosen(session: Session, fit: Fit) -> Sequence[FitMatch]:
    """Return the matches of rank 1, in the order of the training curves."""
    return session.scalars(
        select(FitMatch)
        .where(FitMatch.fit_id == fit.id, FitMatch.rank == 1)
        .order_by(FitMatch.ordinal)
    ).all()


def find_fits_of_dataset(session: Session, dataset_id: str, limit: int = 10) -> list[str]:
    """Return ids of fits that use a dataset, at most `limit`."""
    return list(
        session.scalars(
            select(Fit.id)
            .where((Fit.training_id == dataset_id) | (Fit.ideal_id == dataset_id))
            .limit(limit)
        )
    )
