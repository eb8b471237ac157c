"""Work that the services of the peers share: evaluate points, and store a dataset in two tables."""

from __future__ import annotations

import os
import uuid
from typing import Any

import numpy as np
from sqlalchemy import ForeignKey, LargeBinary, create_engine, event, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

KNOWN = np.load(os.environ["PEER_FIT"])
"""The fit: the grid x, the chosen curves (k, n), their max_deviation, names, and x_tolerance."""

GRID, CURVES = KNOWN["x"], KNOWN["curves"]
TRAINING, IDEAL = KNOWN["training"].tolist(), KNOWN["ideal"].tolist()
TOLERANCE = float(KNOWN["x_tolerance"])


def evaluate(x: list[Any], y: list[Any], policy: str, factor: float) -> dict[str, Any]:
    """Return each assignment of the points, or the reason why a point has none."""
    points, values = np.array(x, dtype=float), np.array(y, dtype=float)
    limit = KNOWN["max_deviation"] * factor
    right = np.clip(np.searchsorted(GRID, points), 1, len(GRID) - 1)
    is_left = np.abs(points - GRID[right - 1]) <= np.abs(points - GRID[right])
    row = np.where(is_left, right - 1, right)
    is_covered = np.abs(GRID[row] - points) <= TOLERANCE
    deviation = np.abs(values - CURVES[:, row])
    admitted = (deviation <= limit[:, None]) & is_covered
    if policy == "nearest":
        best = np.where(admitted, deviation, np.inf).argmin(axis=0)
        admitted &= np.arange(len(limit))[:, None] == best
    items, reasons = list_items(points, values, deviation, limit, admitted, is_covered)
    unmapped = sum(reasons.values())
    return {
        "policy": policy,
        "tolerance_factor": factor,
        "alignment": "exact",
        "x_tolerance": TOLERANCE,
        "n_points": len(x),
        "mapped_points": len(x) - unmapped,
        "unmapped_points": unmapped,
        "n_assignments": int(admitted.sum()),
        "unmapped_reasons": reasons,
        "functions": list_functions(deviation, limit, admitted),
        "points": {"items": items, "next": None},
    }


def list_items(  # noqa: PLR0913, PLR0917 - the arrays of one evaluation
    x: Any, y: Any, deviation: Any, limit: Any, admitted: Any, is_covered: Any
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the items, and how many points have none for each reason."""
    reasons = {"deviation": 0, "x_not_covered": 0, "missing_value": 0}
    items = []
    chosen = [np.flatnonzero(column).tolist() for column in admitted.T]
    away, limits = deviation.T.tolist(), limit.tolist()
    for point, (a, b, covered) in enumerate(
        zip(x.tolist(), y.tolist(), is_covered.tolist(), strict=True)
    ):
        item = {
            "point": point,
            "column": "y",
            "x": None if np.isnan(a) else a,
            "y": None if np.isnan(b) else b,
        }
        for j in chosen[point]:
            names = {"training": TRAINING[j], "ideal": IDEAL[j]}
            numbers = {"deviation": away[point][j], "limit": limits[j], "reason": None}
            items.append({**item, **names, **numbers})
        if not chosen[point]:
            is_missing = item["x"] is None or item["y"] is None
            reason = "missing_value" if is_missing else "deviation" if covered else "x_not_covered"
            reasons[reason] += 1
            nothing = dict.fromkeys(("training", "ideal", "deviation", "limit"))
            items.append({**item, **nothing, "reason": reason})
    return items, reasons


def list_functions(deviation: Any, limit: Any, admitted: Any) -> list[dict[str, Any]]:
    """Return the number of assignments of each function, and their deviations."""
    found = []
    for j, most in enumerate(limit.tolist()):
        of_it = deviation[j][admitted[j]]
        found.append(
            {
                "training": TRAINING[j],
                "ideal": IDEAL[j],
                "limit": most,
                "n_assignments": int(of_it.size),
                "deviation_mean": float(of_it.mean()) if of_it.size else None,
                "deviation_max": float(of_it.max()) if of_it.size else None,
            }
        )
    return found


class Base(DeclarativeBase):
    """Tables of the peers."""


class StoredDataset(Base):
    """A dataset with its numbers as bytes."""

    __tablename__ = "datasets"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    n_points: Mapped[int]
    n_curves: Mapped[int]
    x: Mapped[bytes] = mapped_column(LargeBinary)
    y: Mapped[bytes] = mapped_column(LargeBinary)


class StoredCurve(Base):
    """One curve of a dataset."""

    __tablename__ = "curves"
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    n_gaps: Mapped[int]
    y_min: Mapped[float | None]
    y_max: Mapped[float | None]
    y_mean: Mapped[float | None]


ENGINE = create_engine(f"sqlite:///{os.environ['PEER_FILE']}")


@event.listens_for(ENGINE, "connect")
def set_pragmas(connection: Any, _: object) -> None:
    """Store as safely as Idealfit does."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


Base.metadata.create_all(ENGINE)
open_session = sessionmaker(ENGINE)


class BadColumnsError(Exception):
    """Columns of different lengths, or an x column with gaps or equal numbers."""


def store(session: Session, name: str, columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Store a dataset and its curves, and return the fields of the record."""
    if len({len(column) for column in columns.values()}) != 1:
        raise BadColumnsError
    values = np.array(list(columns.values()), dtype=float)
    x, y = values[0], values[1:]
    if np.isnan(x).any() or len(np.unique(x)) != len(x):
        raise BadColumnsError
    record = uuid.uuid4().hex
    size = {"name": name, "n_points": x.size, "n_curves": len(y)}
    session.add(StoredDataset(id=record, x=x.tobytes(), y=y.tobytes(), **size))
    figures = (
        np.isnan(y).sum(axis=1),
        np.nanmin(y, axis=1),
        np.nanmax(y, axis=1),
        np.nanmean(y, axis=1),
    )
    session.flush()
    rows = zip(list(columns)[1:], *(figure.tolist() for figure in figures), strict=True)
    keys = ("name", "n_gaps", "y_min", "y_max", "y_mean")
    session.execute(
        insert(StoredCurve),
        [
            {"dataset_id": record, "index": index, **dict(zip(keys, row, strict=True))}
            for index, row in enumerate(rows)
        ],
    )
    session.commit()
    return {"id": record, **size, "x_min": float(x.min()), "x_max": float(x.max())}
