"""Bytes of a file become curves, or an error that says where and why not."""

from services.files.common import (
    USUAL_X,
    ReadOptions,
    Source,
    pick_x,
    spooled_table,
    x_position,
)
from services.files.limits import DEFAULT_LIMITS, ReadLimits
from services.files.sandbox import read_apart
from services.files.text import read_text

__all__ = [
    "DEFAULT_LIMITS",
    "USUAL_X",
    "ReadLimits",
    "ReadOptions",
    "Source",
    "pick_x",
    "read_apart",
    "read_text",
    "spooled_table",
    "x_position",
]
