"""`idealfit library`: one file of curves made of many, by the API in this process."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import click
import pyarrow as pa
from rich.markup import escape

from api.config import Settings
from api.http.many_files import LISTED_CURVES
from api.http.media import CSV
from api.limits import Limits
from api.local import Service, make_table, print_table, service, steps
from api.reading import name_options
from services.files.archives import is_hidden
from services.files.formats import media_type_of

PARQUET, ARROW = media_type_of("parquet"), media_type_of("arrow")

MEDIA = {".parquet": PARQUET, ".arrow": ARROW, ".feather": ARROW, ".csv": CSV}
"""Media types of libraries, by the suffixes of their files."""

_COPY_BYTES = 1 << 20


def make_library(paths: Sequence[Path], out: Path, fields: dict[str, Any]) -> None:
    """Write the curves of many files to one, and print how each was read."""
    most = Settings.from_environment().limits
    with service() as api, steps() as tell, tempfile.TemporaryFile() as archive:
        out.parent.mkdir(parents=True, exist_ok=True)
        if [path.suffix.lower() for path in paths] == [".zip"]:
            with paths[0].open("rb") as packed:
                shutil.copyfileobj(packed, archive, _COPY_BYTES)
        else:
            tell("Collecting the files")
            _pack(_find_files(paths, out, most), archive, most)
        tell("Reading the files")
        record = api.store_archive(archive, fields)
        if record["n_curves"] == 1:
            raise click.ClickException(
                "Give files with two curves or more: a fit could only name the one that these hold."
            )
        tell(f"Writing {out.name}")
        _save(api, record["id"], out)
    reports = record["source"]["files"]
    _print_files(reports)
    _print_warnings(record["warnings"], reports)
    _print_totals(record, sum(report["format"] is not None for report in reports), len(reports))
    click.echo(out)


def _find_files(paths: Sequence[Path], out: Path, most: Limits) -> dict[str, Path]:
    """Find the files in the folders, but for hidden ones and the library of the last time.

    Their names are the paths from the folder that has all of them.
    """
    absolute = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - resolve() follows links
    top = os.path.commonpath([path if path.is_dir() else path.parent for path in absolute])
    files: dict[str, Path] = {}
    for given in absolute:
        for path in _walk(given) if given.is_dir() else [given]:
            if path == Path(os.path.abspath(out)):  # noqa: PTH100
                continue
            files[_name_in_archive(path.relative_to(top))] = path
            if len(files) > most.files:
                raise click.ClickException(
                    f"Give fewer files; there are more than {most.files} (IDEALFIT_FILES)."
                )
    if not files:
        shown = ", ".join(map(str, paths))
        raise click.ClickException(f"Give files of curves; there are none in {shown}.")
    return files


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and those below it, in order of their names."""

    def refuse(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(names):
            path = Path(root, name)
            # A link to nothing is an error when it is opened. Pipes and devices are no files.
            if not is_hidden(name) and (path.is_file() or not path.exists()):
                yield path


def _name_in_archive(path: Path) -> str:
    """Name a file, in UTF-8; the service would leave out one that was named but is hidden."""
    visible = [part.lstrip(".") or part for part in path.parts]
    return os.fsencode("/".join(visible)).decode("utf-8", "replace")


def _pack(files: dict[str, Path], target: BinaryIO, most: Limits) -> None:
    """Pack files into an archive, without compression: it is read at once."""
    size = 0
    with zipfile.ZipFile(target, "w") as archive:
        for name, path in files.items():
            member = zipfile.ZipInfo(name)
            with path.open("rb") as stream:
                member.file_size = os.fstat(stream.fileno()).st_size
                size += member.file_size
                if size > most.body_bytes:
                    raise click.ClickException(
                        f"Give fewer files; these have more than {most.body_bytes} bytes"
                        " (IDEALFIT_BODY_BYTES)."
                    )
                with archive.open(member, "w") as packed:
                    shutil.copyfileobj(stream, packed, _COPY_BYTES)


def _save(api: Service, dataset_id: str, out: Path) -> None:
    """Write the values to a file, which replaces an older one when it is complete."""
    partial = out.with_name(f".{out.name}.partial")
    suffix = out.suffix.lower()
    try:
        api.save(f"/v1/datasets/{dataset_id}/values", MEDIA[suffix], partial)
        if MEDIA[suffix] == ARROW:
            _make_seekable(partial)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _make_seekable(path: Path) -> None:
    """Rewrite an Arrow stream as an Arrow file, which these suffixes stand for."""
    stream_path = path.with_name(f"{path.name}.stream")
    path.replace(stream_path)
    try:
        with (
            pa.OSFile(str(stream_path)) as source,
            closing(pa.ipc.open_stream(source)) as stream,
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, stream.schema) as file,
        ):
            for batch in stream:
                file.write_batch(batch)
    finally:
        stream_path.unlink(missing_ok=True)


def _print_files(reports: Sequence[dict[str, Any]]) -> None:
    grid = make_table("file", "format", title="Files", numbers=["curves"])
    grid.add_column("warnings", overflow="fold")
    for report in reports:
        codes = dict.fromkeys(warning["code"] for warning in report["warnings"])
        grid.add_row(
            escape(report["name"]),
            report["format"] or "-",
            _shown_count(report["curves"]),
            ", ".join(codes),
        )
    print_table(grid)


def _shown_count(names: list[str] | None) -> str:
    if names is None:
        return "?"
    return f"{LISTED_CURVES} or more" if len(names) == LISTED_CURVES else str(len(names))


def _print_warnings(warnings: Sequence[dict[str, Any]], reports: Sequence[dict[str, Any]]) -> None:
    """Print one warning of each kind, and of each file that was left out."""
    details = [
        name_options(warning["detail"]) for warning in warnings if warning["code"] != "unreadable"
    ]
    for report in reports:
        if report["format"] is None:
            reasons = " ".join(warning["detail"] for warning in report["warnings"])
            details.append(f"{report['name']}: {name_options(reasons) or 'It was left out.'}")
    for detail in details:
        click.echo(f"Warning: {detail}", err=True)


def _print_totals(record: dict[str, Any], read: int, count: int) -> None:
    click.echo(
        f"{record['n_curves']} curves of {record['n_points']} points from {read} of {count} files;"
        f" x from {record['x_min']:.6g} to {record['x_max']:.6g}, {record['n_gaps']} gaps"
    )
