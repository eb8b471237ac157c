"""Parquet and Arrow files that hold one curve a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa

from services.errors import (
    MOST_FACTS,
    Fact,
    InvalidTable,
    TooLarge,
    error_from,
    error_from_all,
    quote,
)
from services.files.columnar_cells import decode, is_text, read_numbers
from services.files.columnar_sources import ArrowSource, ParquetSource, check_rows
from services.files.common import ReadOptions, Source, TableHead
from services.files.spool import ColumnFile
from services.files.stored_labels import ATTRIBUTES, UNIT, LabelReader
from services.tables import clean_names


@dataclass
class LibraryRows:
    """Reads a file with the columns `name` and `y`, where y holds lists: one curve a row.

    There may be `unit` and `attributes`, too. `positions` holds the positions of the columns.
    """

    source: ParquetSource | ArrowSource
    positions: dict[str, int]
    into: ColumnFile
    options: ReadOptions
    names: list[str] = field(default_factory=list)
    labels: LabelReader = field(default_factory=LabelReader)

    def read(self, how: Source) -> TableHead:
        """Read all curves in their order; the one called like the x column is x."""
        self._check_rows(self.source.rows)
        length = self.source.estimate_length(self.positions["y"])
        self.into.rows = self.options.n_points or 0
        order = sorted(self.positions, key=self.positions.__getitem__)
        positions = [self.positions[name] for name in order]
        for batch in self.source.library_batches(positions, length):
            cells = dict(zip(order, batch.columns, strict=True))
            self._check_rows(len(self.names) + batch.num_rows)
            self._read_batch(cells["name"], cells["y"])
            self._read_labels(cells)
        if not self.names:
            raise error_from(InvalidTable, Fact("The file holds no curve.", "no_rows"))
        names = self._clean_names()
        known = (self.options.x_column,) if self.options.x_column else self.options.usual_x
        if self.options.n_points is not None:
            # The dataset has the x column; any other usual name is that of a curve here.
            known = known[:1]
        x = next((names.index(k.strip()) for k in known if k.strip() in names), None)
        if x is None and self.options.n_points is None:
            detail = "With one curve a row, a row called x has to hold the x values;"
            detail += " without it the curves can only be appended to a dataset."
            raise error_from(InvalidTable, Fact(detail, "no_x", column="name"))
        self._check_curves(len(names) - (x is not None))
        if len(names) == 1 and x is not None:
            detail = "There is only the row of x; at least one curve is needed."
            raise error_from(InvalidTable, Fact(detail, "one_column", row=0))
        labels, warnings = self.labels.labels(x), tuple(self.labels.warnings)
        return TableHead(tuple(names), self.into.rows, how, x, labels, warnings)

    def _check_rows(self, rows: int) -> None:
        # One of them may be x.
        self._check_curves(rows - 1)
        self.options.limits.check_expansion(self.source.size, 8 * rows * self.into.rows)

    def _check_curves(self, curves: int) -> None:
        most = self.options.limits.max_curves
        if curves > most:
            detail = f"There are more than {most} curves; append them in batches."
            raise error_from(TooLarge, Fact(detail, "too_many_curves"))

    def _read_batch(self, names: pa.Array, lists: pa.Array) -> None:
        row = len(self.names)
        if not is_text(names.type):
            raise error_from(
                InvalidTable, Fact("The column name holds no text.", "not_text", row=row)
            )
        words = decode(names).to_pylist()
        lengths = lists.value_lengths().to_pylist()
        facts = []
        for at, (word, length) in enumerate(zip(words, lengths, strict=True), row):
            if word is None or length is None:
                detail = f"Row {at}: the {'name' if word is None else 'curve'} is missing."
                facts.append(Fact(detail, "missing", at, column=word))
                continue
            self._set_length(length)
            if length != self.into.rows:
                detail = f"Row {at}: the curve has {length} numbers instead of {self.into.rows}."
                facts.append(Fact(detail, "ragged_row", at, column=word))
        if facts:
            raise error_from_all(facts[:MOST_FACTS])
        self.names += words
        values = read_numbers(lists.flatten(), words, row, self.into.rows)
        self.into.write(row, 0, values)

    def _read_labels(self, cells: dict[str, pa.Array]) -> None:
        """Read units and attributes of the curves of a batch, if the file has them."""
        given = [name for name in (UNIT, ATTRIBUTES) if name in cells]
        for name in given:
            if not is_text(cells[name].type):
                raise error_from(
                    InvalidTable, Fact(f"The column {name} holds no text.", "not_text", column=name)
                )
        names = self.names[-len(cells["name"]) :] if given else ()
        texts = {name: decode(cells[name]).cast(pa.large_binary()) for name in given}
        for at, name in enumerate(names):
            unit, attributes = (
                texts[label][at].as_py() if label in texts else None for label in (UNIT, ATTRIBUTES)
            )
            self.labels.read(name, unit, attributes)

    def _set_length(self, length: int) -> None:
        """Take the length of all curves from the first one, unless the dataset has it."""
        if self.into.rows == 0:
            if length == 0:
                raise error_from(InvalidTable, Fact("Row 0: the curve is empty.", "no_rows", row=0))
            check_rows(length, self.options)
            self.into.rows = length
            self.options.limits.check_expansion(self.source.size, 8 * length * self.source.rows)

    def _clean_names(self) -> list[str]:
        try:
            return clean_names(self.names)
        except InvalidTable:
            raise error_from_all(list(islice(self._find_bad_names(), MOST_FACTS))) from None

    def _find_bad_names(self) -> Iterator[Fact]:
        seen: dict[str, int] = {}
        for row, name in enumerate(self.names):
            first = seen.setdefault(name.strip(), row)
            if first != row:
                detail = f"Rows {first} and {row} are both called {quote(name.strip())}."
                yield Fact(detail, "duplicate_name", row, column=name.strip())
                continue
            try:
                clean_names([name])
            except InvalidTable as error:
                fact = error.facts[0]
                detail = fact.detail.partition(": ")[2]
                yield Fact(f"Row {row}: {detail}", fact.code, row, column=fact.column)
