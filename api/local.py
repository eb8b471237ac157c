"""The whole job for files, without a server: calls of the API in this process.

A file is read, and an error worded, as the service does it, because it is the service.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import click
import orjson
from flask.testing import FlaskClient
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from api.app import create_app
from api.config import Settings
from api.http.media import CSV, FORM, HTML, SQLITE, ZIP
from api.reading import name_options
from api.running import running
from api.store.base import Database
from api.store.migrate import migrate

PAGE = 500

NO_GRID = {"missing_x", "repeated_x"}
"""Warnings that say nothing new: test points may be so, and a fit of other curves is refused."""

Given = tuple[Path, dict[str, Any]]
"""A file, and the fields that say how to read it."""

WIDEST = Console(width=1 << 20)
"""As wide as any table, to measure how wide one is."""


class Service:
    """The API on a database of its own; an error ends the command with its first sentence."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client

    def store(self, path: Path, fields: dict[str, Any]) -> str:
        """Store a file, read as the fields say; the id of the dataset.

        Warnings are printed at once, because an error that follows may have the same cause.
        """
        with path.open("rb") as stream:
            form = fields | {"file": (stream, path.name)}
            reply = self._client.post("/v1/datasets", data=form, content_type=FORM)
        record = _record(reply, f"{path}: ")
        for warning in record["warnings"]:
            if warning["code"] in NO_GRID:
                continue
            click.echo(f"Warning: {path}: {name_options(warning['detail'])}", err=True)
        return str(record["id"])

    def store_archive(self, file: BinaryIO, fields: dict[str, Any]) -> dict[str, Any]:
        """Store the curves of a ZIP archive, read as the fields say; the record."""
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        reply = self._client.post(
            "/v1/datasets",
            query_string=MultiDict(fields),
            input_stream=file,
            content_length=size,
            content_type=ZIP,
        )
        return _record(reply)

    def post(self, address: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post JSON; the record."""
        given = {name: value for name, value in body.items() if value is not None}
        return _record(self._client.post(address, json=given))

    def rows(self, address: str) -> Iterator[dict[str, Any]]:
        """Yield all items of a list."""
        page = _record(self._client.get(f"{address}?limit={PAGE}"))
        yield from page["items"]
        while page["next"]:
            cursor = quote(page["next"])
            page = _record(self._client.get(f"{address}?limit={PAGE}&cursor={cursor}"))
            yield from page["items"]

    def save(self, address: str, media: str, path: Path) -> None:
        """Write a file of the API to a path."""
        reply = self._client.get(address, headers={"Accept": media}, buffered=False)
        with closing(reply):
            if reply.status_code != 200:  # noqa: PLR2004 - the one status with a file
                _record(reply)
            with path.open("wb") as file:
                file.writelines(reply.iter_encoded())


def _record(reply: TestResponse, about: str = "") -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(reply.data)
    if reply.status_code < 400:  # noqa: PLR2004 - an error from here on
        return document
    detail = document["detail"]
    fact = document["errors"][0] if document["errors"] else {}
    pointer, path = fact.get("pointer", ""), fact.get("file")
    if pointer and detail.startswith(f"{pointer}: "):
        # A field of the body is an option here.
        detail = f"--{pointer[1:].replace('_', '-')}{detail.removeprefix(pointer)}"
    if path is not None:
        about, detail = f"{about}{path}: ", detail.removeprefix(f"{path}: ")
    advice = name_options(detail)
    if " grid=" in advice:  # an option of another command
        advice += " Or make one file with idealfit library, which has --grid."
    raise click.ClickException(f"{about}{advice}")


@contextmanager
def service() -> Iterator[Service]:
    """Yield the API with the limits of the environment; every job is done in its request."""
    with tempfile.TemporaryDirectory() as folder:
        own = {"data": Path(folder), "database_url": "", "inline_seconds": math.inf}
        settings = replace(Settings.from_environment(), **own)  # type: ignore[arg-type] # one kind each
        database = Database(settings.url)
        migrate(database)
        database.close()
        app = create_app(settings)
        try:
            yield Service(app.test_client())
        finally:
            running(app).database.close()


@contextmanager
def steps() -> Iterator[Any]:
    """Say on a terminal what is being done; files that cannot be written end with one line."""
    console = Console(stderr=True)
    try:
        with console.status("Starting ...") as status:
            yield lambda text: status.update(f"{escape(text)} ...")
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'A file'}: {error.strerror}") from None


def identify(files: Sequence[Given], out: Path | None, options: dict[str, Any]) -> None:
    """Fit the curves of a file to a library; print the matches and write them, too."""
    with service() as api, steps() as tell:
        fit = _fit(api, files, options, tell)
        rows = list(api.rows(f"{fit}/matches"))
        written = [("plot.html", f"{fit}/plot", HTML), ("matches.csv", f"{fit}/matches", CSV)]
        paths = _write(api, out, written, tell) if out else []
    _print_matches(rows, with_family=options["transform"] != "none")
    _print_paths(paths)


def classify(
    files: Sequence[Given], out: Path, options: dict[str, Any], mapped: dict[str, Any]
) -> None:
    """Fit, and map the points of a third file; print the chosen functions and write the points."""
    with service() as api, steps() as tell:
        fit = _fit(api, files[:2], options, tell)
        test_id = _store(api, files[2], tell)
        tell("Mapping")
        body = mapped | {"fit_id": fit.rpartition("/")[2], "test_id": test_id}
        mapping = api.post("/v1/mappings", body)
        address = f"/v1/mappings/{mapping['id']}"
        written = [
            ("plot.html", f"{address}/plot", HTML),
            ("mapped.csv", f"{address}/points", CSV),
            ("project.db", f"{address}/export", SQLITE),
        ]
        paths = _write(api, out, written, tell)
        rows = [row for row in api.rows(f"{fit}/matches") if row["rank"] == 1]
    _print_functions(rows, mapping)
    _print_paths(paths)


def _store(api: Service, given: Given, tell: Any) -> str:
    path, fields = given
    tell(f"Reading {path.name}")
    try:
        return api.store(path, fields)
    except click.ClickException as error:
        if "Leave out --" not in error.message:
            raise
        message = f"{error.message} Name the files it is for by --for."
        raise click.ClickException(message) from None


def _fit(api: Service, files: Sequence[Given], options: dict[str, Any], tell: Any) -> str:
    """Fit two files; return the address of the fit."""
    ids = {
        role: _store(api, given, tell)
        for role, given in zip(("training_id", "ideal_id"), files, strict=True)
    }
    tell("Fitting")
    return f"/v1/fits/{api.post('/v1/fits', options | ids)['id']}"


def _write(api: Service, out: Path, files: Sequence[tuple[str, str, str]], tell: Any) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    for name, address, media in files:
        tell(f"Writing {name}")
        api.save(address, media, out / name)
    return [out / name for name, _, _ in files]


def _print_paths(paths: Sequence[Path]) -> None:
    for path in paths:
        click.echo(path)


def _print_matches(rows: Sequence[dict[str, Any]], *, with_family: bool) -> None:
    family = ("scale", "offset") if with_family else ()
    figures = ["sse", "rmse", "max_deviation", "r2", *family, "margin"]
    doubtful = any(row["warnings"] for row in rows)
    grid = make_table("training", "rank", "ideal", title="Matches", numbers=figures)
    if doubtful:
        grid.add_column("warnings", overflow="fold")
    for row in rows:
        words = (escape(row["training"]), str(row["rank"]), escape(row["ideal"]))
        warnings = [" ".join(row["warnings"])] if doubtful else []
        grid.add_row(*words, *(_shown(row[name]) for name in figures), *warnings)
    print_table(grid)


def _print_functions(rows: Sequence[dict[str, Any]], mapping: dict[str, Any]) -> None:
    numbers = ["sse", "rmse", "max_deviation", "limit", "points"]
    grid = make_table("training", "ideal", title="Chosen functions", numbers=numbers)
    for row, function in zip(rows, mapping["functions"], strict=True):
        figures = (row["sse"], row["rmse"], row["max_deviation"], function["limit"])
        words = (escape(row["training"]), escape(row["ideal"]))
        grid.add_row(*words, *map(_shown, figures), str(function["n_assignments"]))
    print_table(grid)
    reasons = ", ".join(f"{name} {count}" for name, count in mapping["unmapped_reasons"].items())
    click.echo(
        f"{mapping['mapped_points']} of {mapping['n_points']} points mapped,"
        f" {mapping['n_assignments']} assignments; not mapped: {reasons}"
    )


def make_table(*words: str, title: str, numbers: Sequence[str]) -> Table:
    """Make an empty table that folds what is too long, and cuts nothing."""
    grid = Table(title=title, title_justify="left")
    for word in words:
        grid.add_column(word, justify="right" if word == "rank" else "left", overflow="fold")
    for name in numbers:
        grid.add_column(name.replace("_", " "), justify="right", overflow="fold")
    return grid


def _shown(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.6g}"


def print_table(grid: Table) -> None:
    """Print a table whose names are never cut: folded on a terminal, else on one line each."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, WIDEST.measure(grid).maximum))
    console.print(grid)
    sys.stdout.flush()
