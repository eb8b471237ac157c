"""Writers of JCAMP-DX and SPC files, from their descriptions and not from our readers."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np

JCAMP, SPC = "chemical/x-jcamp-dx", "chemical/x-galactic-spc"

SQZ = dict(zip(range(-9, 10), "ihgfedcba@ABCDEFGHI", strict=True))
DIF = dict(zip(range(-9, 10), "rqponmlkj%JKLMNOPQR", strict=True))
DUP = " STUVWXYZs"


NTUPLES = b"""##TITLE=fid
##DATA TYPE=NMR FID
##NTUPLES=NMR FID
##VAR_NAME= TIME, FID/REAL, FID/IMAG, PAGE NUMBER
##SYMBOL= X, R, I, N
##VAR_TYPE= INDEPENDENT, DEPENDENT, DEPENDENT, PAGE
##VAR_DIM= 3, 3, 3, 2
##UNITS= SECONDS, V, mV
##FIRST= 0, 2, 30, 1
##LAST= 1, 6, 50, 2
##FACTOR= 0.5, 2, 10, 1
##PAGE= N=1
##DATA TABLE= (X++(R..R)), XYDATA $$ real
0 1 2 3
##PAGE= N=2
##DATA TABLE= (X++(I..I)), XYDATA
0CJJ
##END NTUPLES= NMR FID
##END=
"""
"""A block of two pages with real and imaginary ordinates."""


def squeezed(letters, number):
    """A whole number with a letter for its first digit and its sign."""
    digits = str(abs(number))
    return letters[int(digits[0]) * (-1 if number < 0 else 1)] + digits[1:]


def duplicated(tokens):
    """The same tokens, with a count behind each that repeats."""
    runs = []
    for token in tokens:
        if runs and runs[-1][0] == token:
            runs[-1][1] += 1
        else:
            runs.append([token, 1])
    counts = ["" if n == 1 else DUP[int(str(n)[0])] + str(n)[1:] for _, n in runs]
    return [token + count for (token, _), count in zip(runs, counts, strict=True)]


def ordinates(form, numbers, width=7):
    """Lines of (X++(Y..Y)) at x = 0, 1, 2, ...: AFFN, PAC, SQZ, DIF, DUP or DIFDUP."""
    lines, start = [], 0
    while start < len(numbers):
        some = numbers[start : start + width]
        values = [squeezed(SQZ, number) for number in some]
        steps = [squeezed(DIF, b - a) for a, b in pairwise(some)]
        tokens = {
            "AFFN": [f" {number}" for number in some],
            "PAC": [f"{number:+d}" for number in some],
            "SQZ": values,
            "DUP": duplicated(values),
            "DIF": [values[0], *steps],
            "DIFDUP": [values[0], *duplicated(steps)],
        }[form]
        lines.append(f"{start}{''.join(tokens)}")
        # The last ordinate is repeated as a check where a line ends with a difference.
        is_checked = form in ("DIF", "DIFDUP") and len(some) > 1
        start += len(some) - is_checked
        if is_checked and start == len(numbers) - 1:
            lines.append(f"{start}{squeezed(SQZ, numbers[-1])}")
            break
    return lines


def a_jcamp(lines, form="(X++(Y..Y))", table="XYDATA", **labels):
    """One block; labels are written as they are called, `_` for a blank."""
    head = {"TITLE": "a title", "JCAMP-DX": "4.24", "XUNITS": "1/CM", "YUNITS": "ABSORBANCE"}
    head |= {name.replace("_", " "): value for name, value in labels.items()}
    shown = [f"##{name}={value}" for name, value in head.items() if value is not None]
    return "\n".join([*shown, f"##{table}={form}", *lines, "##END=", ""]).encode()


def a_simple_jcamp(columns):
    """JCAMP-DX of x and one curve, as pairs."""
    (_, x), (name, y) = columns.items()
    shown = [["?" if number is None else repr(float(number)) for number in some] for some in (x, y)]
    lines = [f"{a}, {b}" for a, b in zip(*shown, strict=True)]
    return a_jcamp(lines, "(XY..XY)", "XYPOINTS", TITLE=name, NPOINTS=len(x))


def an_spc(
    y,
    *,
    x=None,
    kind="f4",
    order="<",
    exponent=10,
    even=(0.0, 1.0),
    directory=False,
    types=(1, 2, 0),
    date=0,
    memo=b"",
    axes=b"",
    points=None,
    subfiles=None,
    flags=0,
):
    """An SPC file of subfiles y; x is None (even), one array, or one for each subfile."""
    own_x = x is not None and np.ndim(x[0]) > 0
    width = {"f4": 4, "i4": 4, "i2": 2}[kind]
    flags |= (kind == "i2") | 0x04 * (len(y) > 1) | 0x20 * bool(axes)
    flags |= 0x80 * (x is not None) | 0x40 * own_x
    code = -128 if kind == "f4" else exponent
    body, places = b"", []
    if x is not None and not own_x:
        body += np.asarray(x, f"{order}f4").tobytes()
    for at, some in enumerate(y):
        places.append(512 + len(body))
        count = len(some) if own_x else 0
        body += struct.pack(f"{order}BbHfffIIf4x", 0, code, at, at / 2, 0, 0, count, 0, 0)
        body += np.asarray(x[at], f"{order}f4").tobytes() if own_x else b""
        body += np.asarray(some, f"{order}{kind}").tobytes()
        assert len(some) * width == len(np.asarray(some, f"{order}{kind}").tobytes())
    if directory:
        points = 512 + len(body)
        body += b"".join(struct.pack(f"{order}IIf", place, 0, 0.0) for place in places)
    elif points is None:
        points = 0 if own_x else len(y[0])
    header = struct.pack(
        f"{order}BBBbIddIBBBBI9s9sH32s130s30sIIBBHf48sfIfB187s",
        *(flags, 0x4B if order == "<" else 0x4C, 0, code, points, *even),
        *(len(y) if subfiles is None else subfiles, *types, 0, date, b"4", b"FT", 0, b""),
        *(memo, axes, 0, 0, 0, 0, 0, 0.0, b"", 0.0, 0, 0.0, 0, b""),
    )
    return header + body


def a_simple_spc(columns):
    """An SPC file of x and one curve, as float32."""
    x, y = columns.values()
    return an_spc([[np.nan if number is None else number for number in y]], x=x)


SPECTRA = {"jdx": (JCAMP, a_simple_jcamp), "spc": (SPC, a_simple_spc)}
"""The content type and the maker of each, for x and one curve, by the ending of its files."""
