"""Files with random changes, read by the readers themselves: `python -m tests.hostile 20000 1`.

A third word restricts them to one kind, as in `python -m tests.hostile 20000 1 jcamp`. Each batch
is read in a separate process with the limits of the service, so that a crash is noticed.
The program prints how many inputs ended in which way.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sys
import tempfile
import zipfile
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa

from services.errors import CurveError
from services.files import ReadOptions, read_text
from services.files.columnar import read_columnar
from services.files.compressed import Unpacked
from services.files.jcamp import read_jcamp
from services.files.limits import ReadLimits
from services.files.sandbox_main import limit_process
from services.files.sheets import read_sheet
from services.files.spc import read_spc
from services.files.spool import ColumnFile
from tests.files import PACK, a_parquet, a_sheet, a_text, a_workbook, an_arrow
from tests.spectra import NTUPLES, a_jcamp, an_spc, ordinates

LIMITS = ReadLimits(max_columns=100, max_rows=10_000, memory_bytes=2 << 30, seconds=20)
OPTIONS = ReadOptions(limits=LIMITS)
BATCH = 100
SECONDS = 20
"""For one input; more is a hang."""

NUMBERS = {
    "x": np.arange(40.0),
    "y": [None if i % 7 == 0 else i / 3 for i in range(40)],
    "i": np.arange(40),
    "f": np.arange(40, dtype=np.float32),
    "d": pa.array([1.5, 2.5] * 20).dictionary_encode(),
    "n": pa.nulls(40),
}
MIXED = NUMBERS | {"t": [f"t{i}" for i in range(40)], "l": [[1.0, 2.0]] * 40}
LIBRARY = pa.table({"name": ["x", "a", "b"], "y": [[0.0, 1.0], [2.0, None], [3.0, 4.0]]})
PLAIN = {"x": [1.0, 2.0, 3.0], "y": [0.5, None, -0.25]}
SPECTRA = {"jcamp": read_jcamp, "spc": read_spc}
JCAMP_WORDS = (
    *(b"$$", b"##", b"=", b"?", b"s99999", b"S9", b"%", b"J1", b"@", b"1e308", b"E+300", b"-1"),
    *(b"\n##TITLE=", b"\n##END=", b"\n##NPOINTS=1e10\n", b"\n##LASTX=", b"\n##YFACTOR=1e300\n"),
    *(b"\n##XYDATA=(X++(Y..Y))\n", b"\n##XYPOINTS=(XY..XY)\n", b"\n##DATA TABLE=(X++(R..R))\n"),
    *(
        b"0 1",
        b"1,5",
        b";",
        b"\r",
        b"\n",
        b"\x1a",
        b"\xff\xfe",
        b"9" * 400,
        b"." * 9,
        b"\n##PAGE=N\n",
    ),
)
STREAMS = ["lz4", "zstd", None]

CURVE = [(i / 8, round(100 * np.sin(i / 5), 4)) for i in range(12)]
ROWS = "".join(f"{x},{y}\n" for x, y in CURVE)
TEXTS = (
    "x,y\n" + ROWS,
    "#Shimadzu\n%dat\n\n" + ROWS.replace(",", "\t"),
    "sep=;\nWellenlänge;Intensität\nnm;a.u.\n" + ROWS.replace(",", ";").replace(".", ","),
    "[Header]\nDate: 01/02/2020, 10:30\n[Data]\nx,y\n" + ROWS + "[End]\nMean,3.5\n",
    "Run 7\n\n x   y\n" + ROWS.replace(",", "   ") + "\n\n" + ROWS.replace(",", "  "),
    ",x,y\n" + "".join(f"{i},{x},{y}\n" for i, (x, y) in enumerate(CURVE)),
    "x,y,,\n" + ROWS.replace("\n", ",,\n"),
    '"x, mm","y ""a""\nb"\n' + "".join(f'"{x}","{y}"\n' for x, y in CURVE),
    "x;y\n" + "".join(f"{x};1.{i:03}.000,{i}\n" for i, (x, _) in enumerate(CURVE)),
    "t,x,y\n" + "".join(f"2020-01-{i + 1:02},{x},{y}\n" for i, (x, y) in enumerate(CURVE)),
    "x|y\n0|n/a\n1|-1.#IND\n2|inf\n3|1e999\n4|-9999\n5|1_0\n6|0x1p3\n7|1d5\n",
    "".join(",".join([name, *(str(c[at]) for c in CURVE)]) + "\n" for at, name in enumerate("xy")),
    "x,y\r\n" + ROWS.replace("\n", "\r\n") + "\x1a",
)
SHEET = [
    ["Run", 7],
    [],
    ["x", "y", None],
    ["nm", "a.u."],
    *CURVE,
    [None, None, "=1+1"],
    ["Mean", 3.5],
]
TEXT_OPTIONS = (
    {"header": "absent"},
    {"header": "present", "units": "present"},
    {"layout": "rows"},
    {"layout": "pairs"},
    {"thousands": ".", "decimal": ","},
    {"columns": ["#1", "#2"]},
    {"first_line": 3, "last_line": 9},
    {"comment": "*", "gap": ["7", "none"]},
    {"delimiter": "space"},
    {"encoding": "latin-1", "x_column": "y"},
    {"encoding": "utf-16"},
)
TEXT_WORDS = (
    *(
        b",",
        b";",
        b"\t",
        b"|",
        b" ",
        b'"',
        b'""',
        b"'",
        b"#",
        b"//",
        b"\n",
        b"\r",
        b"\n\n\n",
        b"\0",
    ),
    *(b"nan", b"-1.#IND", b"1e999", b"-0", b"1,000", b"1.000.000", b"9" * 400, b"sep=,\n", b"x,x"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xb5", b"\xe2\x80\x89", b"\xe2\x88\x92", b"Mean,3.5\n"),
    *(b"a" * 300, b"," * 99, b"\x1a", b"\x0c", b"\xc2\x85", b"1 2 3\n", b"(", b"[", b"%", b"_"),
)
SHEET_WORDS = (
    *(b'<c r="A1"><v>1e999</v></c>', b'<c t="s"><v>99</v></c>', b'<c t="e"><v>#N/A</v></c>'),
    *(b'<c r="ZZZZ9999999"><v>1</v></c>', b'<row r="0"/>', b'<row r="999999999999">', b"</row>"),
    *(b' hidden="1"', b' t="b"', b' t="str"', b' t="inlineStr"', b' t="d"', b' s="99999"', b"<v/>"),
    *(b"<f>A1+</f>", b"<is><t>x</t></is>", b"&#0;", b"&lt;", b"&a;", b"<![CDATA[1]]>", b"<!-- -->"),
    *(b'<!DOCTYPE a [<!ENTITY a "aaa">]>', b'<mergeCell ref="A1:ZZ9"/>', b"<a>" * 300, b"1,5"),
)


def seeds():
    """Right files: (what reads them, bytes)."""
    for columns in (NUMBERS, MIXED, LIBRARY):
        for compression in ("none", "snappy", "gzip", "zstd"):
            yield "parquet", a_parquet(columns, compression=compression)
        yield "parquet", a_parquet(columns, data_page_version="2.0", write_page_checksum=True)
        for compression in STREAMS:
            for file in (False, True):
                yield "arrow", an_arrow(columns, file=file, compression=compression, rows=16)
    yield from tables()
    yield from spectra()
    for coding, pack in PACK.items():
        yield coding, pack(a_text(PLAIN))


def tables():
    """Right workbooks and texts."""
    yield "xlsx", a_sheet(PLAIN)
    yield "xlsx", a_workbook(("A", [["x", "y"], [1, "NA"], [2, True], [3, "text"]]), ("B", []))
    for sheet in ([["x", "y"], *CURVE], SHEET):
        for kind in ("xlsx", "xlsx-inside", "xlsx-cells"):
            yield kind, a_workbook(("A", sheet), ("B", []))
    for text in TEXTS:
        yield "text", text.encode()
    yield "text", TEXTS[2].encode("utf-16")
    yield "text", TEXTS[2].encode("windows-1252")


def spectra():
    """Right files of spectra."""
    curve = [round(1000 * np.sin(i / 9)) for i in range(60)]
    labels = {"FIRSTX": 0, "LASTX": 59, "NPOINTS": 60, "YFACTOR": 0.01, "FIRSTY": 0}
    for form in ("AFFN", "PAC", "SQZ", "DIF", "DUP", "DIFDUP"):
        yield "jcamp", a_jcamp(ordinates(form, curve), **labels)
    yield "jcamp", NTUPLES + a_jcamp(["1,2;3,?"], "(XY..XY)", "PEAK TABLE", OWNER="me")
    for order in "<>":
        yield "spc", an_spc([curve] * 2, order=order, kind="i2", exponent=16)
        yield "spc", an_spc([curve], order=order, x=curve, memo=b"m", axes=b"a\0b", date=2**31)
        yield "spc", an_spc([[1], [2, 3]], order=order, x=[[1], [2, 3]], directory=order == "<")


def changed(data, chance):
    """The bytes with a few changes."""
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at, kind = chance.randrange(len(data) or 1), chance.randrange(6)
        if kind == 0 and data:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and data:
            data[at] = chance.choice((0, 1, 127, 128, 255))
        elif kind == 2:
            absurd = (b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0" * 8, b"\xff" * 7 + b"\x7f")
            data[at : at + 4] = chance.choice(absurd)
        elif kind == 3:
            del data[at : at + chance.randrange(1, 20)]
        elif kind == 4:
            data[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif chance.random() < 0.3:
            del data[at:]
    return bytes(data)


def with_words(words, data, chance):
    """A file with a few words that mean something in it, and changes or not."""
    data = put_words(words, data, chance)
    return changed(data, chance) if chance.random() < 0.5 else data


def put_words(words, data, chance):
    """A file with a few words that mean something in it."""
    for _ in range(chance.randrange(4)):
        at, word = chance.randrange(len(data)), chance.choice(words)
        data = data[:at] + word + data[at + chance.choice((0, 0, len(word))) :]
    return data


def with_lines(data, chance):
    """A text of which lines were moved, repeated or cut, with words and changes."""
    lines = data.splitlines(keepends=True)
    for _ in range(chance.choice((0, 0, 1, 3))):
        at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[at:at] = lines[other : other + chance.choice((1, 2, 8))]
        if chance.random() < 0.5:
            del lines[chance.randrange(len(lines))]
    data = b"".join(lines)
    return changed(data, chance) if chance.random() < 0.2 else put_words(TEXT_WORDS, data, chance)


def changed_inside(data, chance, change=changed):
    """A workbook with changes inside one of its members, packed again."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(sink, "w") as new:
        victim = chance.choice([name for name in old.namelist() if name.startswith("xl/")])
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content, chance) if name == victim else content)
    return sink.getvalue()


CHANGES = {
    "xlsx-inside": changed_inside,
    "xlsx-cells": partial(changed_inside, change=partial(with_words, SHEET_WORDS)),
    "jcamp": partial(with_words, JCAMP_WORDS),
    "text": with_lines,
}


def some_options(kind, chance):
    """Options of a client, for a text or a sheet."""
    if (kind != "text" and not kind.startswith("xlsx-")) or chance.random() < 0.5:
        return OPTIONS
    return replace(OPTIONS, **chance.choice(TEXT_OPTIONS))


def read(kind, data, options):
    """Read one file; whatever is raised is the outcome."""
    with tempfile.TemporaryFile() as numbers:
        into = ColumnFile(numbers, 0)
        if kind in ("parquet", "arrow"):
            read_columnar(data, kind, into, options)
        elif kind.startswith("xlsx"):
            read_sheet(io.BytesIO(data), into, options)
        elif kind in SPECTRA:
            SPECTRA[kind](data, into, options)
        elif kind == "text":
            read_text(io.BytesIO(data), "csv", options).close()
        else:
            stream = io.BufferedReader(Unpacked(io.BytesIO(data), kind, LIMITS))
            read_text(stream, "csv", options).close()


def outcome(kind, data, options):
    """What came of a file, as a word."""
    signal.alarm(SECONDS)
    try:
        read(kind, data, options)
    except CurveError as error:
        return type(error).__name__
    except MemoryError:
        return "TooLarge"  # as the process that reads says it
    except Exception as error:  # noqa: BLE001 - these are what is looked for
        return f"BUG {type(error).__name__}: {error}"[:200]
    return "read"


def batch(first, count, seed, files, report):
    """In a child process: the outcomes of some inputs, a line each."""
    limit_process(LIMITS, 0)
    for number in range(first, first + count):
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - no secret
        kind, data = files[number % len(files)]
        data = CHANGES.get(kind, changed)(data, chance)
        word = outcome(kind, data, some_options(kind, chance))
        os.write(report, f"{number} {kind} {word}\n".encode())


def main(total, seed, only=None):
    """Run all, or those of one kind, and print the counts."""
    files = [(kind, data) for kind, data in seeds() if only in (None, kind.partition("-")[0])]
    counts = Counter()
    first = 0
    while first < total:
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a dying library says much
            batch(first, min(BATCH, total - first), seed, files, theirs)
            os._exit(0)
        os.close(theirs)
        with os.fdopen(ours) as pipe:
            lines = pipe.read().splitlines()
        for line in lines:
            number, kind, word = line.split(" ", 2)
            counts[f"{kind.partition('-')[0]}: {word}"] += 1
            first = int(number) + 1
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            # The service answers 413 then; only the time limit would be a hang.
            kind = files[first % len(files)][0]
            died = signal.Signals(os.WTERMSIG(status)).name
            word = "HANG" if died == "SIGALRM" else f"died of {died}"
            counts[f"{kind.partition('-')[0]}: {word}"] += 1
            first += 1
    print(json.dumps(dict(sorted(counts.items()))))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
