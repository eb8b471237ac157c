"""Files become tables of curves, or an error that says where and why not."""

from services.files.common import USUAL_X, Part, ReadFile, ReadOptions, Source, pick_x
from services.files.joining import Joiner, JoinOptions, read_grid
from services.files.limits import ReadLimits
from services.files.sandbox import read_in_sandbox
from services.files.text import read_text

__all__ = [
    "USUAL_X",
    "JoinOptions",
    "Joiner",
    "Part",
    "ReadFile",
    "ReadLimits",
    "ReadOptions",
    "Source",
    "pick_x",
    "read_grid",
    "read_in_sandbox",
    "read_text",
]
