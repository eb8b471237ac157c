"""What becomes of real files of instruments: stored, refused or read wrongly.

    python -m benchmarks real_files --folder /tmp/real --details details.jsonl

It fetches packages of PyPI that ship files of instruments into the folder, posts each file as it is
over HTTP to a service of its own, and compares what is stored with a naive reading of the longest
run of lines of numbers. JCAMP-DX and SPC files are also compared bit by bit with the packages jcamp
and spcfile, which it fetches too; they are not of the project, and nor are the files.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import importlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.service import Server, serving
from benchmarks.tables import HTTP
from services.errors import CurveError
from services.files import ReadOptions
from services.files.jcamp import read_jcamp
from services.files.spc import read_spc
from services.files.spool import ColumnFile

WHEELS = (
    *("chemotools==0.5.0", "nmrglue==0.12", "orange-spectroscopy==0.9.3", "pygaps==4.6.1"),
    *("pyxrd==0.8.4", "ramanchada2==1.5.0", "refl1d==1.0.1", "refnx==0.1.67", "sasdata==0.11.0"),
    "solcore==5.10.1",
)
SDISTS = (
    *("diffpy.labpdfproc==0.3.1", "diffpy.morph==0.3.1", "diffpy.utils==3.7.2", "jcamp==1.3.2"),
    *("lmfit==1.3.4", "powerxrd==4.0.0", "specio==0.1.0"),
)
ORACLES = ("jcamp==1.3.2", "spcfile==0.1.0")

NO_DATA = re.compile(
    r"(?i)\.(py|pyi|pyc|so|md|rst|in|cfg|toml|ya?ml|ini|html|js|css|svg|png|jpg|gif|ico|icns|bmp|ipynb|"
    r"glade~?|cpp|cc?|h|f|i|vue|ts|ui|qrc|xsd|doctree|pickle|inv|map|sh|bat|csh|tmpl|mplstyle|pdf|"
    r"cff|bib|lock|buildinfo|pth|sav|typed|po|mo|rc|style|ttf|woff2?|eot|atl|out|db)$"
)
NO_DATA_NAMES = re.compile(
    r"(?i)(^|/)(\.|[^/]*\.(dist|egg)-info/|licen[cs]e|readme|requirements|changes|authors|news|"
    r"sources\.txt|top_level|entry_points|__|makefile|manifest|copying|citation|todo)"
)
MOST_BYTES = 8 << 20
LEAST_ROWS, LEAST_CELLS = 20, 2

NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eEdD][+-]?\d+)?")
CLEAR = ("line", "row", "parameter", "column")
OUTCOMES = (
    *("stored", "stored, warned", "stored as told"),
    *("clear refusal", "unclear refusal", "wrong"),
)
"""The third is a clear refusal whose first sentence names the options, header=absent or first_line=
or both, with which the file is stored right."""

ADVICE = re.compile(r"Say (?:first_line=(\d+))?(?: and )?(header=absent)? if ")

GAPS = ("", "-1.#IND", "1.#IND", "1.#QNAN", "-1.#QNAN")
"""Cells without a number, and how old compilers of Visual C print NaN."""


class File(NamedTuple):
    """A file of a package."""

    package: str
    path: str
    data: bytes


def fetch(folder: Path) -> None:
    """Download the packages that are not there, and install those to compare with."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    for packages, *options in ((WHEELS, "--only-binary"), (SDISTS, "--no-binary")):
        for package in packages:
            name = re.sub(r"[-_.]+", "*", package.partition("==")[0])
            if not any(name_matches(file, name) for file in folder.iterdir()):
                command = [*pip, "download", "--no-deps", *options, ":all:", "-d", str(folder)]
                subprocess.run([*command, package], check=True)
    oracles = folder / "oracles"
    if not oracles.exists():
        command = [*pip, "install", "--no-deps", "--target", str(oracles), *ORACLES]
        subprocess.run(command, check=True)


def name_matches(file: Path, pattern: str) -> bool:
    """Tell whether a file is an archive of a package."""
    return bool(re.match(pattern.replace("*", "[-_.]+") + r"-\d", file.name, re.IGNORECASE))


def archives(folder: Path) -> Iterator[File]:
    """Yield the members of all archives."""
    for archive in sorted(folder.iterdir()):
        package = archive.name.partition("-")[0]
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                for member in wheel.infolist():
                    if member.file_size <= MOST_BYTES:
                        yield File(package, member.filename, wheel.read(member))
        elif archive.suffix == ".gz":
            with tarfile.open(archive) as sdist:
                for entry in sdist:
                    stream = sdist.extractfile(entry) if entry.size <= MOST_BYTES else None
                    if stream is not None:
                        yield File(package, entry.name, stream.read())


def files(folder: Path) -> Iterator[File]:
    """Yield files that may hold measurements, each content once."""
    seen = set()
    for file in archives(folder):
        digest = hashlib.sha256(file.data).digest()
        is_data = not NO_DATA.search(file.path) and not NO_DATA_NAMES.search(file.path)
        if is_data and len(file.data) > 1 and digest not in seen:
            seen.add(digest)
            yield file


# A naive reading


def find_block(data: bytes) -> list[list[float]] | None:
    """Return the rows of the longest run of lines of numbers; None if there is no plain one."""
    if b"\0" in data:
        return None
    lines = [line.strip() for line in data.decode("latin-1").splitlines() if line.strip()]
    best: list[list[float]] = []
    for delimiter in ("\t", ";", ",", None):
        for run in runs(lines, delimiter):
            if len(run) > len(best):
                best = run
    is_plain = len(best) >= LEAST_ROWS and 2 * len(best) > len(lines)
    return best if is_plain else None


def runs(lines: list[str], delimiter: str | None) -> Iterator[list[list[float]]]:
    """Yield runs of lines with the same number of numbers, at least two."""
    run: list[list[float]] = []
    for line in lines:
        row = numbers(line, delimiter)
        if run and len(row) != len(run[0]):
            yield run
            run = []
        if len(row) > 1:
            run.append(row)
    yield run


def numbers(line: str, delimiter: str | None) -> list[float]:
    """Return the numbers of a line, NaN for empty cells; none if it holds anything else."""
    cells = [cell.strip() for cell in line.split(delimiter)]
    filled = [cell for cell in cells if cell not in GAPS]
    if sum(map(bool, cells)) < LEAST_CELLS or not all(map(NUMBER.fullmatch, filled)):
        return []
    shown = ["nan" if cell in GAPS else cell.replace(",", ".") for cell in cells]
    return [float(re.sub("[dD]", "e", cell) if cell != "nan" else cell) for cell in shown]


def agrees(table: pa.Table, block: list[list[float]]) -> bool:
    """Tell whether every stored column is one of the block's, and at most an index is missing."""
    stored = [column.to_numpy(zero_copy_only=False) for column in table.columns]
    columns = [column for column in np.array(block).T if not np.isnan(column).all()]
    found = [any(np.array_equal(one, some, equal_nan=True) for some in columns) for one in stored]
    return all(found) and len(columns) - len(stored) in (0, 1)


# The service


def post(server: Server, file: File, options: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Post a file as a browser would, and return the status and the reply."""
    name = Path(file.path).name.replace('"', "'")
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    field = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    fields = "".join(field.format(*option) for option in options.items())
    body = (fields + head).encode() + b"Content-Type: application/octet-stream\r\n\r\n" + file.data
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    with contextlib.closing(connection):
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        connection.request("POST", "/v1/datasets", body + b"\r\n--b--\r\n", headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())


def read_values(server: Server, record: dict[str, Any]) -> pa.Table:
    """Return all values of a dataset."""
    path = f"/v1/datasets/{record['id']}/values"
    return pa.ipc.open_stream(
        server.get(path, Accept="application/vnd.apache.arrow.stream")
    ).read_all()


def kind_of(file: File, block: list[list[float]] | None) -> str:
    """Name the kind of a file."""
    if file.data[:200].lstrip().upper().startswith(b"##TITLE"):
        return "JCAMP-DX"
    if file.path.lower().endswith(".spc"):
        return "SPC"
    if block is not None:
        return "one plain block of numbers"
    return "other binary" if b"\0" in file.data else "other text"


def judge(server: Server, file: File) -> dict[str, Any]:
    """Post a file, and say what became of it."""
    block = find_block(file.data)
    status, reply = post(server, file, {})
    advice = ADVICE.match(reply.get("detail", ""))
    if advice:
        line, header = advice.groups()
        told = {"first_line": line} if line else {}
        status, reply = post(server, file, told | ({"header": "absent"} if header else {}))
    found = {"package": file.package, "path": file.path, "kind": kind_of(file, block)}
    if status != http.HTTPStatus.CREATED:
        facts = reply.get("errors", [])
        is_clear = any(fact.get(place) is not None for fact in facts for place in CLEAR)
        is_clear = is_clear or found["kind"] not in ("one plain block of numbers", "other text")
        outcome = "clear refusal" if is_clear else "unclear refusal"
        return found | {"outcome": outcome, "status": status, "detail": reply.get("detail")}
    table = read_values(server, reply)
    codes = [warning["code"] for warning in reply["warnings"]]
    outcome = "stored, warned" if codes else "stored"
    if advice:
        outcome = "stored as told"
    if found["kind"] == "one plain block of numbers" and not agrees(table, block or []):
        outcome = "wrong"
    rows = {"rows": table.num_rows, "columns": table.column_names[:6], "block": len(block or [])}
    return found | {"outcome": outcome, "warnings": codes, "source": reply["source"]} | rows


# Other readers


def compare(folder: Path) -> Counter[str]:
    """Compare the readers of JCAMP-DX and SPC with others, bit by bit."""
    sys.path.insert(0, str(folder / "oracles"))
    counts: Counter[str] = Counter()
    warnings.simplefilter("ignore")
    for file in files(folder):
        suffix = Path(file.path).suffix.lower()
        if suffix not in (".jdx", ".dx", ".jcm", ".spc"):
            continue
        name = "spcfile" if suffix == ".spc" else "jcamp"
        ours = read_ours(file, is_spc=suffix == ".spc")
        with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
            copy.write(file.data)
            copy.flush()
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    theirs = _spcfile(copy.name) if suffix == ".spc" else _jcamp(copy.name)
            except Exception as error:  # noqa: BLE001 - other readers raise anything
                theirs = type(error).__name__
        word = tell_difference(ours, theirs)
        counts[f"{name}: {word}"] += 1
        if word != "equal to the last bit":
            print(f"{name}: {word}: {file.path}")
    return counts


def tell_difference(ours: Any, theirs: Any) -> str:
    """Say how two lists of (x, y) compare; a text says why there is none."""
    if isinstance(ours, str):
        return "we refuse"
    if isinstance(theirs, str):
        return "the other one raises"
    if len(ours) != len(theirs):
        return "other numbers of tables"
    shapes = [[len(axis) for axis in spectrum] for spectrum in ours]
    if shapes != [[len(axis) for axis in spectrum] for spectrum in theirs]:
        return "other numbers of points"
    pairs = [
        (a, b) for one, two in zip(ours, theirs, strict=True) for a, b in zip(one, two, strict=True)
    ]
    is_equal = all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
    return "equal to the last bit" if is_equal else "other values"


def read_ours(file: File, *, is_spc: bool) -> Any:
    """Read all spectra of a file by the project's readers."""
    with tempfile.TemporaryFile() as sink:
        into = ColumnFile(sink, 0)
        try:
            heads = (read_spc if is_spc else read_jcamp)(file.data, into, ReadOptions())
        except CurveError as error:
            return error.detail
        sink.seek(0)
        values = np.fromfile(sink)
    tables = [
        values[head.offset : head.offset + head.rows * len(head.columns)].reshape(-1, head.rows)
        for head in heads
    ]
    return [(table[0], y) for table in tables for y in table[1:]]


def _jcamp(path: str) -> Any:
    """Read all spectra of a file by jcamp."""
    jcamp = importlib.import_module("jcamp")

    def leaves(found: dict[str, Any]) -> Iterator[Any]:
        for child in found.get("children", ()):
            yield from leaves(child)
        if len(found.get("x", ())):
            yield np.asarray(found["x"], float), np.asarray(found["y"], float)

    return list(leaves(jcamp.readfile(path)))


def _spcfile(path: str) -> Any:
    """Read all spectra of a file by spcfile."""
    spcfile = importlib.import_module("spcfile")
    return [(np.asarray(s.x, float), np.asarray(s.y, float)) for s in spcfile.SPCFile(path)]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="Where the packages are kept.")
    parser.add_argument("--details", type=Path, help="Gets a line of JSON for each file.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        fetch(folder)
        with serving(Path(temporary) / "data") as server:
            found = [judge(server, file) for file in files(folder)]
        if arguments.details:
            arguments.details.write_text("".join(json.dumps(one) + "\n" for one in found))
        show(found)
        print()
        for word, count in sorted(compare(folder).items()):
            print(f"{word}: {count}")


def show(found: list[dict[str, Any]]) -> None:
    """Print what became of the files, by their kind."""
    print(f"{len(found)} files, {HTTP}:\n")
    print(f"| kind | files | {' | '.join(OUTCOMES)} |")
    print(f"| --- | ---: |{' ---: |' * len(OUTCOMES)}")
    for kind in sorted({one["kind"] for one in found}):
        counts = Counter(one["outcome"] for one in found if one["kind"] == kind)
        shown = " | ".join(str(counts[outcome]) for outcome in OUTCOMES)
        print(f"| {kind} | {sum(counts.values())} | {shown} |")


if __name__ == "__main__":
    main()
