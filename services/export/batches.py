"""Values, matches and points as Arrow record batches, in which a gap is null, never NaN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from services.files.stored_labels import field_metadata
from services.mapping.items import REASONS, Items
from services.scoring.matches import MATCH_FIELDS
from services.tables import FloatArray

_WORD = pa.dictionary(pa.int32(), pa.string())

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), list: pa.list_(pa.string())}

MATCHES = pa.schema(
    [pa.field(field.name, _TYPES[field.kind], nullable=field.may_be_null) for field in MATCH_FIELDS]
)
"""Columns of matches."""

LISTED_MATCHES = MATCHES.append(pa.field("ideal_attributes", pa.string()))
"""Columns of matches with the attributes of the library curve, as JSON; null where it has none."""

POINTS = pa.schema(
    [
        pa.field("point", pa.int64(), nullable=False),
        pa.field("column", _WORD, nullable=False),
        pa.field("x", pa.float64()),
        pa.field("y", pa.float64()),
        pa.field("training", _WORD),
        pa.field("ideal", _WORD),
        pa.field("deviation", pa.float64()),
        pa.field("limit", pa.float64()),
        pa.field("reason", _WORD),
    ]
)
"""Columns of points."""


def values_schema(
    names: Sequence[str], labels: Iterable[tuple[str | None, Mapping[str, Any]]] = ()
) -> pa.Schema:
    """Make the schema of values, all float64.

    Parameters
    ----------
    names : sequence of c str
        Names of the columns.
    labels : iterable of c tuples
        Unit and attributes of each column, kept in its metadata; none if there are none.

    Returns
    -------
    Schema
        Columns in the same order.
    """
    metadata = (field_metadata(*label) for label in labels)
    columns = zip_longest(names, metadata)
    return pa.schema([pa.field(name, pa.float64(), metadata=more) for name, more in columns])


def values_batch(schema: pa.Schema, block: FloatArray) -> pa.RecordBatch:
    """Make a batch of values.

    Parameters
    ----------
    schema : Schema
        From `values_schema`.
    block : ndarray of shape (c, rows)
        The values, column by column, C-contiguous; NaN is a gap.

    Returns
    -------
    RecordBatch
        Of that schema.
    """
    return pa.RecordBatch.from_arrays([_numbers(column) for column in block], schema=schema)


def matches_batch(
    rows: Sequence[Sequence[Any]], attributes: Sequence[Mapping[str, Any]]
) -> pa.RecordBatch:
    """Make a batch of matches.

    Parameters
    ----------
    rows : sequence of k sequences
        Fields of each match in the order of `MATCHES`; None is a gap.
    attributes : sequence of k mappings
        Attributes of the library curve of each.

    Returns
    -------
    RecordBatch
        Of the schema `LISTED_MATCHES`.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(MATCHES)
    columns.append(tuple(orjson.dumps(each).decode() if each else None for each in attributes))
    arrays = [pa.array(c, field.type) for c, field in zip(columns, LISTED_MATCHES, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=LISTED_MATCHES)


class PointBatches:
    """Makes batches of the items of one mapping; their dictionaries are the same in all.

    Parameters
    ----------
    columns : sequence of str
        Names of the y columns of the test dataset.
    functions : sequence of k mappings
        `training`, `ideal` and `limit` of each chosen function.
    """

    def __init__(self, columns: Sequence[str], functions: Sequence[Mapping[str, Any]]) -> None:
        """Encode the names once."""
        self._columns = pa.array(columns, pa.string())
        self._training = _Words([function["training"] for function in functions])
        self._ideal = _Words([function["ideal"] for function in functions])
        self._reason = _Words(REASONS[1:])
        # The last limit is for -1, which stands for no function.
        limits = [*(function["limit"] for function in functions), None]
        self._limits = np.array(limits, dtype=np.float64)

    def batch(self, items: Items) -> pa.RecordBatch:
        """Make a batch of items.

        Parameters
        ----------
        items : ndarray of ITEM
            Assignments and unmapped points, in order.

        Returns
        -------
        RecordBatch
            Of the schema `POINTS`.
        """
        function = items["function"]
        arrays = [
            pa.array(np.ascontiguousarray(items["point"])),
            pa.DictionaryArray.from_arrays(np.ascontiguousarray(items["column"]), self._columns),
            _numbers(items["x"]),
            _numbers(items["y"]),
            self._training.take(function),
            self._ideal.take(function),
            _numbers(items["deviation"]),
            _numbers(self._limits[function]),
            self._reason.take(items["reason"] - 1),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=POINTS)


class _Words:
    """Names that rows refer to by position; -1 is null.

    The dictionary holds each name once, because pandas refuses one with duplicates.
    """

    def __init__(self, names: Sequence[str | None]) -> None:
        places = {name: place for place, name in enumerate(dict.fromkeys(names))}
        self._distinct = pa.array(list(places), pa.string())
        self._codes = np.array([*(places[name] for name in names), 0], dtype=np.int32)

    def take(self, positions: NDArray[np.int32]) -> pa.DictionaryArray:
        codes = pa.array(self._codes[positions], mask=positions < 0)
        return pa.DictionaryArray.from_arrays(codes, self._distinct)


def _numbers(values: FloatArray) -> pa.Array:
    """Convert numbers to Arrow, with null for NaN and for infinity."""
    contiguous = np.ascontiguousarray(values)
    infinite = np.isinf(contiguous)
    if infinite.any():
        contiguous = np.where(infinite, np.nan, contiguous)
    return pa.array(contiguous, from_pandas=True)
