"""Many files become one table, as do the parts of a file whose curves have different x."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as fields_of
from functools import partial
from typing import Any, BinaryIO, NamedTuple, cast
from zipfile import ZipInfo

from werkzeug.datastructures import FileStorage

from api import slots
from api.errors import Problem
from api.http.bodies import make_reader_limits
from api.http.one_file import read_file
from api.http.read_options import find_given, restrict, take_options
from api.http.upload import Expected, Upload
from api.http.uploaded_file import (
    UploadedFile,
    describe_file,
    file_of_part,
    find_format,
    path_of_part,
    peek,
)
from services.errors import CurveError, Fact, InvalidOption, InvalidTable, TooLarge, error_from
from services.files import (
    Joiner,
    JoinOptions,
    Part,
    ReadFile,
    ReadLimits,
    ReadOptions,
    Source,
    read_grid,
)
from services.files.archives import Archive, check_count, is_hidden, measure_room
from services.files.compressed import Unpacked
from services.files.formats import Content, Format, recognize
from services.files.titles import find_stem, make_titles
from services.tables import FloatArray, TableWarning

Grid = tuple[str, FloatArray]
"""Name and values of the x column of a dataset."""

LISTED_CURVES = 100
"""Most names of curves in the report on a file."""

_LISTED_WARNINGS = 20
_REPORT_CHARACTERS = 2_000_000
"""Characters of names and warnings in all reports; those of further files are left out."""


class Taken(NamedTuple):
    """Options of joining and reading, and the grid if the curves have to be on it as they are."""

    join: JoinOptions
    options: ReadOptions
    grid: Grid | None


def take_file_options(
    fields: dict[str, Any], parameters: Mapping[str, str], expected: Expected
) -> Taken:
    """Take all options out of the fields that came with files; see `take_options`."""
    join = JoinOptions(
        read_grid(fields.pop("grid"), make_reader_limits().max_rows),
        fields.pop("x_tolerance"),
        fields.pop("alignment"),
        fields.get("x_unit"),
    )
    grid = expected.grid if isinstance(join.grid, str) and join.grid == "same" else None
    n_points = grid[1].size if grid else None
    return Taken(join, take_options(fields, parameters, expected.usual_x, n_points), grid)


def join_parts(
    read: ReadFile, join: JoinOptions, grid: Grid | None, origin: str, names: Sequence[str]
) -> tuple[Part, tuple[TableWarning, ...]]:
    """Join the parts of a file to one, and close them; return the warnings too.

    `names` are those that the client gives to the curves, if any.
    """
    count = sum(len(part.curves.names) for part in read.parts)
    if names and len(names) != count:
        detail = f"Give as many names as there are curves; there are {count}, not {len(names)}."
        read.close()
        raise error_from(InvalidOption, Fact(detail, "invalid", parameter="names"))
    if len(read.parts) == 1 and isinstance(join.grid, str) and not names:
        return read.parts[0], read.warnings
    joiner, given = Joiner(join, make_reader_limits(), grid), iter(names)
    try:
        for part in read.parts:
            prepared, warnings = joiner.prepare(part)
            joiner.warnings += warnings
            # Of one file, the first curve tells its parts apart.
            where = part.curves.names[0] if len(read.parts) > 1 else origin
            joiner.add(prepared, [next(given, name) for name in part.curves.names], where)
        return joiner.finish(), (*read.warnings, *joiner.warnings)
    except BaseException:
        joiner.close()
        raise
    finally:
        read.close()


@dataclass(frozen=True, slots=True)
class NamedFile:
    """One of many files: its path, with slashes, and a function that opens it within limits.

    `size` is the unpacked size of a member of an archive, in bytes.
    """

    path: str
    open: Callable[[ReadLimits], UploadedFile]
    size: int = 0


def files_of_form(parts: Sequence[FileStorage]) -> list[NamedFile]:
    """Return the files of a form that are not hidden, those in archives among them."""
    limits = make_reader_limits()
    room = measure_room(limits)
    files: list[NamedFile] = []
    for part in parts:
        path, stream = path_of_part(part), cast("BinaryIO", part.stream)
        if is_hidden(path):
            continue
        own = [NamedFile(path, partial(file_of_part, part))]
        if recognize(peek(stream)[0]) is Content.ZIP:
            try:
                archive = Archive(stream, limits, room)
                if not archive.is_workbook:
                    own = files_of_archive(archive, f"{find_stem(path)}/")
                    # All archives together have the limits of one.
                    room -= archive.directory_bytes
                    left = limits.max_bytes - sum(file.size for file in own)
                    limits = replace(limits, max_bytes=left)
            except CurveError as error:
                raise _with_path(error, path) from None
        files += own
        check_count(len(files), limits)
    return files


def files_of_archive(archive: Archive, folder: str = "") -> list[NamedFile]:
    """Return the files of an archive that are not hidden, with a folder before their paths."""

    def opener(path: str, info: ZipInfo) -> Callable[[ReadLimits], UploadedFile]:
        return lambda limits: describe_file(archive.open(info), path, info.file_size, limits)

    return [
        NamedFile(folder + path, opener(path, info), info.file_size)
        for path, info in archive.find_files().items()
    ]


def read_many(files: Sequence[NamedFile], fields: dict[str, Any], expected: Expected) -> Upload:
    """Read files, one after the other, and join their curves to one table."""
    check_count(len(files), make_reader_limits())
    if not files:
        detail = "Send files of curves; those that came are hidden."
        raise error_from(InvalidTable, Fact(detail, "no_files"))
    if expected.look and fields.get("partial") == "true":
        detail = "Leave out partial=true: many files can only be read whole."
        raise error_from(InvalidOption, Fact(detail, "invalid", parameter="partial"))
    fields = dict(fields)
    if fields.pop("names", None):
        detail = "Leave out names, which are for the curves of one file; rename the files."
        raise error_from(InvalidOption, Fact(detail, "invalid", parameter="names"))
    slots.enter()
    reading = _Reading(fields, expected)
    try:
        titles = make_titles([file.path for file in files])
        for file, title in zip(files, titles, strict=True):
            reading.add(file, title)
        return reading.finish(fields)
    except BaseException:
        reading.close()
        raise


class _Reading:
    """Files that are read to one table.

    All of them together have the limits of one: of unpacked bytes, and of time.
    """

    def __init__(self, fields: dict[str, Any], expected: Expected) -> None:
        join, self._options, self._grid = take_file_options(fields, {}, expected)
        self._skips = fields.pop("skip_unreadable") == "true"
        self._expected = replace(expected, look=None)
        self._limits = make_reader_limits()
        self._deadline = time.monotonic() + self._limits.files_seconds
        self._joiner = Joiner(join, self._limits, expected.grid)
        self._ineffective = find_given(self._options)
        self._sources: list[Source] = []
        self._reports = _Reports()

    def add(self, file: NamedFile, title: str) -> None:
        """Read a file and add its curves, or note why it cannot be read."""
        limits = self._limits_left()
        try:
            read = self._read(file, title, limits)
        except (CurveError, Problem) as error:
            if not self._skips:
                raise _with_path(error, file.path) from None
            self._reports.add_skipped(file.path, error)
            return
        count = sum(len(part.curves.names) for part in read.parts)
        listed: dict[str, str] = {}
        with closing(read):
            for part in read.parts:
                names = [title if count == 1 else f"{title} / {name}" for name in part.curves.names]
                self._joiner.add(part, names, file.path)
                listed |= dict(zip(part.curves.names, names, strict=True))
        self._sources.append(read.source)
        self._reports.add(file.path, read, listed)

    def _limits_left(self) -> ReadLimits:
        left = math.ceil(self._deadline - time.monotonic())
        if left <= 0:
            most = self._limits.files_seconds
            detail = f"Send fewer files at once; reading these takes more than {most} seconds."
            raise error_from(TooLarge, Fact(detail, "too_slow"))
        return replace(self._limits, seconds=min(left, self._limits.seconds))

    def _read(self, file: NamedFile, title: str, limits: ReadLimits) -> ReadFile:
        opened = file.open(limits)
        try:
            head, stream = peek(opened.stream)
            format = find_format(opened, head, self._options.encoding)
            options = self._options_for(format, opened, title, limits)
            read = read_file(
                replace(opened, stream=stream), format, options, self._expected, self._grid
            )
        finally:
            if isinstance(opened.stream, Unpacked):
                left = self._limits.max_bytes - opened.stream.unpacked
                self._limits = replace(self._limits, max_bytes=max(0, left))
        try:
            prepared = [self._joiner.prepare(part) for part in read.parts]
        except BaseException:
            read.close()
            raise
        parts = tuple(part for part, _ in prepared)
        warnings = (*read.warnings, *(warning for _, some in prepared for warning in some))
        return ReadFile(parts, replace(read.source, compression=opened.compression), warnings)

    def _options_for(
        self, format: Format, file: UploadedFile, title: str, limits: ReadLimits
    ) -> ReadOptions:
        options = restrict(self._options, format)
        self._ineffective -= find_given(options)
        charset = file.parameters.get("charset")
        return replace(options, stem=title, charset=charset, limits=limits)

    def finish(self, fields: dict[str, Any]) -> Upload:
        """Join the curves."""
        if not self._sources:
            raise self._reports.make_error()
        for name in sorted(self._ineffective):
            detail = f"Leave out {name}: no file has a format in which it means anything."
            raise error_from(InvalidOption, Fact(detail, "invalid", parameter=name))
        source = _find_common(self._sources)
        warnings = (*self._reports.warnings(), *self._joiner.warnings)
        part = self._joiner.finish()
        return Upload(part.curves, part.labels, source, warnings, fields, self._reports.items)

    def close(self) -> None:
        """Free the disk."""
        self._joiner.close()


def _with_path(error: CurveError | Problem, path: str) -> CurveError | Problem:
    """Make the same error, which names the file."""
    detail = f"{path}: {error.detail}"
    facts = [replace(fact, detail=f"{path}: {fact.detail}", file=path) for fact in error.facts]
    facts = facts or [Fact(detail, "unreadable", file=path)]
    if isinstance(error, Problem):
        return Problem(error.status, detail, facts, error.headers, error.kind)
    return type(error)(detail, facts)


def _find_common(sources: Sequence[Source]) -> Source:
    """Find what is true of all files."""
    first, usual = sources[0], Source("mixed")
    common = {
        field.name: getattr(first, field.name)
        for field in fields_of(Source)
        if all(getattr(source, field.name) == getattr(first, field.name) for source in sources)
    }
    return replace(usual, **common)


class _Reports:
    """The reports on the files, and the warnings of all."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self._left = _REPORT_CHARACTERS
        self._first: dict[str, tuple[str, TableWarning]] = {}
        self._counts: Counter[str] = Counter()
        self._error: tuple[str, CurveError | Problem] | None = None

    def add(self, path: str, read: ReadFile, names: dict[str, str]) -> None:
        """Report on a file; `names` are those of its curves in the table, by their own."""
        warnings = [
            replace(warning, column=names.get(warning.column or "", warning.column))
            for warning in read.warnings
        ]
        self._append(path, read.source.format, [*names.values()], warnings)

    def add_skipped(self, path: str, error: CurveError | Problem) -> None:
        """Report that a file cannot be read."""
        self._error = self._error or (path, error)
        warning = TableWarning("unreadable", f"It was left out. {error.detail}")
        self._append(path, None, [], [warning])

    def _append(
        self, path: str, format: str | None, names: list[str], warnings: list[TableWarning]
    ) -> None:
        for warning in warnings:
            self._first.setdefault(warning.code, (path, warning))
        self._counts.update({warning.code for warning in warnings})
        curves: list[str] | None = names[:LISTED_CURVES]
        told = [asdict(warning) for warning in warnings[:_LISTED_WARNINGS]]
        self._left -= len(path) + sum(map(len, curves or ())) + sum(len(str(x)) for x in told)
        if self._left < 0:
            curves, told = None, []
        report = {"name": path, "format": format, "curves": curves, "warnings": told}
        self.items.append(report)

    def warnings(self) -> list[TableWarning]:
        """Make one warning of those of a kind in all files."""
        made = []
        for code, (path, warning) in self._first.items():
            others = self._counts[code] - 1
            more = f" So it is in {others} more file{'s' * (others > 1)}." if others else ""
            made.append(replace(warning, detail=f"{path}: {warning.detail}{more}"))
        return made

    def make_error(self) -> CurveError | Problem:
        """Make the error for files none of which can be read: that of the first."""
        path, error = self._error or ("", InvalidTable("There is no file."))
        return _with_path(error, path)
