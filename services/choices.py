"""Words that a fit or a mapping may be asked for, each list once.

The OpenAPI document, the schemas and the command line take them from here. Where the choice
makes a difference a `match` ends with `assert_never`, so mypy names each place that lacks a word.
"""

from __future__ import annotations

from typing import Literal

Criterion = Literal["sse", "mae", "max"]
"""Score that ranks library curves."""

Transform = Literal["none", "offset", "scale", "affine"]
"""Family of curves that a library curve stands for."""

Sign = Literal["any", "positive"]
"""Scales that a transform may fit."""

AlignmentKind = Literal["exact", "linear"]
"""Way in which an x is found in the library's grid."""

Outside = Literal["reject", "omit"]
"""Treatment of training x that the library does not cover."""

MatchWarning = Literal[
    "tied",
    "few_pairs",
    "degenerate_scale",
    "constant_curve",
    "inverted",
    "worse_than_mean",
    "one_point_decides",
]
"""Reason to doubt a match."""

Policy = Literal["all", "nearest", "first"]
"""Choice among the functions that admit a point."""

Reason = Literal["deviation", "x_not_covered", "missing_value"]
"""Reason why no function admits a point."""

Normalization = Literal["snv", "unit", "minmax", "max", "area"]
"""Size of a curve that `normalize` makes 1."""

Per = Literal["x", "row"]
"""Unit of x of a derivative: the unit of the data, or one row."""

XUnit = Literal["nm", "um", "cm-1", "eV", "Hz"]
"""Unit of x that `convert` knows."""

YUnit = Literal["transmittance", "percent_transmittance", "absorbance"]
"""Quantity of y that `convert` knows."""
