"""The command line: `idealfit --help`."""

from __future__ import annotations

import functools
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
import orjson
from alembic.util import CommandError
from marshmallow import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table as Grid
from sqlalchemy.exc import SQLAlchemyError

from api import demo as demonstration
from api import examples
from api.app import create_app
from api.config import SettingError, Settings
from api.engine import export_project, plan_fit, plan_mapping, submit
from api.pages import plots
from api.processes import Supervisor, web_processes, worker_processes
from api.resources.mappings import point_batches
from api.resources.plots import mapping_parts
from api.schemas.fits import FitRequest
from api.schemas.mappings import MappingRequest
from api.server import Server
from api.store.base import Database, new_id
from api.store.datasets import Dataset, add_dataset
from api.store.fits import Fit, FitMatch, chosen
from api.store.mappings import ItemFilter, Mapping
from api.store.migrate import migrate as migrate_database
from api.store.private import keep_private
from api.worker import work
from services.batches import POINTS
from services.errors import CurveError
from services.readers import read_text
from services.writers import csv_rows

OPENAPI = Path("openapi/openapi.json")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="idealfit")
def cli() -> None:
    """Find out which known curve this is.

    Idealfit picks, for each measured curve, the curve of a library that fits it best, and says
    for every later point which chosen curve admits it.

    \b
      idealfit serve                                   the HTTP service
      idealfit run training.csv ideal.csv test.csv     the whole job, once, without a server
      idealfit demo                                    example data into a running server

    The environment sets IDEALFIT_DATA (folder of the SQLite file, default data), DATABASE_URL
    (PostgreSQL instead), HOST, PORT and IDEALFIT_CORS_ORIGINS.
    """  # noqa: D301 - click's mark for lines that it must not fill up to a paragraph


def main() -> None:
    """Entry point: settings that cannot be used end with one line."""
    try:
        cli()
    except (SettingError, SQLAlchemyError, CommandError, ModuleNotFoundError, OSError) as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        if getattr(error, "name", None) == "psycopg":
            reason = "PostgreSQL needs its driver: pip install 'idealfit[postgres]'"
        click.echo(f"Error: {reason}", err=True)
        sys.exit(1)


def _workers(least: int) -> Any:
    return click.option(
        "--workers",
        envvar="IDEALFIT_WORKERS",
        default=worker_processes,
        show_default="by processors",
        type=click.IntRange(min=least),
        help="Worker processes.",
    )


@cli.command()
@click.option("--host", envvar="HOST", default="127.0.0.1", show_default=True)
@click.option(
    "--port", envvar="PORT", default=8000, show_default=True, type=click.IntRange(1, 65535)
)
@click.option(
    "--web",
    envvar="WEB_CONCURRENCY",
    default=web_processes,
    show_default="by processors",
    type=click.IntRange(min=1),
    help="Web processes.",
)
@click.option(
    "--threads",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    help="Of each web process.",
)
@_workers(least=0)
def serve(host: str, port: int, web: int, threads: int, workers: int) -> None:
    """Migrate the database and serve HTTP until interrupted.

    Workers do what is too large for a request; without any it stays queued.
    """
    settings = Settings.from_environment()
    _migrate(settings)
    _refuse_busy(host, port)
    url = f"http://{host}:{port}{settings.prefix}"
    click.echo(f"Idealfit  {url}/\nDocs      {url}/docs\nData      {_shown(settings)}")
    sys.stdout.flush()
    server = Server(host, port, web, threads)
    children = {"web": lambda _name, parent: server.serve(parent)}
    code = Supervisor(children | _worker_children(settings, workers)).run()
    database = Database(settings.url)
    database.settle()
    database.close()
    sys.exit(code)


@cli.command()
@_workers(least=1)
def worker(workers: int) -> None:
    """Do queued fits and mappings until interrupted.

    For another machine, with the same PostgreSQL, or beside your own gunicorn. It waits until
    the database is migrated.
    """
    settings = Settings.from_environment()
    sys.exit(Supervisor(_worker_children(settings, workers)).run())


def _worker_children(settings: Settings, count: int) -> dict[str, Callable[[str, int], None]]:
    """A name for each worker that no other has, on any machine, and what it does."""
    run = f"{socket.gethostname()[:60]}-{new_id()[:8]}"
    child = functools.partial(work, settings)
    return {f"worker-{run}-{number}": child for number in range(1, count + 1)}


def _refuse_busy(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise click.ClickException(
                f"Port {port} of {host} cannot be used ({error.strerror}); set PORT to another."
            ) from None


@cli.command()
@click.argument("revision", default="head")
def migrate(revision: str) -> None:
    """Bring the database to the schema of this version, or to REVISION."""
    settings = Settings.from_environment()
    _migrate(settings, revision)
    click.echo(f"{_shown(settings)} is at {revision}.")


def _migrate(settings: Settings, revision: str = "head") -> None:
    os.umask(0o077)  # what is stored is for its owner only
    database = Database(settings.url)
    try:
        if database.sqlite:
            keep_private(Path(database.url.database or "").parent)
        migrate_database(database, revision)
    finally:
        database.close()


def _shown(settings: Settings) -> str:
    """The database without its password."""
    url = Database(settings.url).url
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string()


@cli.command()
@click.option(
    "--check", is_flag=True, help="Write nothing; fail unless the file is the generated one."
)
def openapi(*, check: bool) -> None:
    """Write the OpenAPI document to openapi/openapi.json."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data=Path(folder)))
        document = app.extensions["idealfit.document"].finished
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    text = orjson.dumps(document, option=options)
    if not check:
        OPENAPI.parent.mkdir(exist_ok=True)
        OPENAPI.write_bytes(text)
    elif not OPENAPI.exists() or OPENAPI.read_bytes() != text:
        raise click.ClickException(f"{OPENAPI} is not the generated one; run idealfit openapi.")


def _own_url() -> str:
    prefix = Settings.from_environment().prefix
    return f"http://127.0.0.1:{os.environ.get('PORT') or 8000}{prefix}"


@cli.command()
@click.option(
    "--url",
    default=_own_url,
    show_default="http://127.0.0.1:PORT, 8000 if that is not set, and IDEALFIT_PREFIX",
    help="A running server.",
)
def demo(url: str) -> None:
    """Post example data to a running server, fit and map it, and say where to look."""
    url = url.rstrip("/")
    try:
        mapping_id = demonstration.post_examples(url)
    except demonstration.NoServerError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Posted the examples of {examples.FOLDER}. Look at:")
    click.echo(f"  {url}/v1/mappings/{mapping_id}/plot\n  {url}/")


def _choice(name: str, words: str, default: str, text: str) -> Any:
    return click.option(
        f"--{name}", type=click.Choice(words.split()), default=default, show_default=True, help=text
    )


@cli.command()
@click.argument("training", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("ideal", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("test", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for plot.html, mapped.csv and project.db; made if it is not there.",
)
@_choice("criterion", "sse mae max", "sse", "What ranks the library curves.")
@_choice("transform", "none offset scale affine", "none", "The family a library curve stands for.")
@_choice("alignment", "exact linear", "exact", "How x is found in the library's grid.")
@click.option("--x-tolerance", type=float, help="For exact alignment.  [default: 1e-6 steps]")
@_choice("outside", "reject omit", "reject", "Training x that the library does not cover.")
@click.option("--min-overlap", type=float, default=1.0, show_default=True)
@_choice("policy", "all nearest first", "all", "Which of the functions that admit a point.")
@click.option("--tolerance-factor", type=float, default=2**0.5, show_default="√2")
def run(training: Path, ideal: Path, test: Path, out: Path, **options: Any) -> None:
    """Fit TRAINING to the library IDEAL and map the points of TEST.

    All three are CSV files with a header, x first. Prints the chosen functions and writes
    plot.html, mapped.csv and project.db.
    """
    console = Console(stderr=True)
    bars = Progress(console=console, transient=True, disable=not console.is_terminal)
    with _scratch() as database, bars:
        paths = {"training": training, "ideal": ideal, "test": test}
        ids = {role: _store(database, role, path) for role, path in paths.items()}
        try:
            fit, mapping = _compute(database, ids, options, bars)
            out.mkdir(parents=True, exist_ok=True)
            rows = _write(database, fit, mapping, out)
        except CurveError as error:
            raise click.ClickException(error.detail) from None
        except OSError as error:
            raise click.ClickException(f"{error.filename or out}: {error.strerror}") from None
    _report(rows, mapping, out)


@contextmanager
def _scratch() -> Iterator[Database]:
    """A database of its own for one run."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Settings(data=Path(folder)).url)
        migrate_database(database)
        yield database
        database.close()


def _store(database: Database, role: str, path: Path) -> str:
    """Read a file and store it; the id of the dataset."""
    kind = "tsv" if path.suffix.lower() in {".tsv", ".tab"} else "csv"
    try:
        with path.open("rb") as stream:
            curves, source = read_text(stream, format=kind)
    except CurveError as error:
        raise click.ClickException(f"{path}: {error.detail}") from None
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    with closing(curves), database.writing() as session:
        dataset: Dataset = add_dataset(session, curves, source, name=role)
    return dataset.id


def _compute(
    database: Database, ids: dict[str, str], options: dict[str, Any], bars: Progress
) -> tuple[Fit, Mapping]:
    """The fit and the mapping, each with a bar."""

    def bar(title: str) -> Any:
        task = bars.add_task(title)
        return lambda done, total: bars.update(task, completed=done, total=total)

    mapped = {name: options.pop(name) for name in ("policy", "tolerance_factor")}
    try:
        body = options | {"training_id": ids["training"], "ideal_id": ids["ideal"]}
        fit = submit(database, plan_fit, FitRequest().load(body), progress=bar("fit"))
        body = mapped | {"fit_id": fit.id, "test_id": ids["test"]}
        mapping = submit(database, plan_mapping, MappingRequest().load(body), progress=bar("map"))
    except ValidationError as error:
        field, messages = next(iter(dict(error.messages_dict).items()))
        raise click.ClickException(f"--{field.replace('_', '-')}: {messages[0]}") from None
    return fit, mapping


def _write(database: Database, fit: Fit, mapping: Mapping, out: Path) -> Sequence[FitMatch]:
    """Write the three files; the chosen functions."""
    export_project(database, mapping.id, out / "project.db")
    with (out / "mapped.csv").open("wb") as file:
        file.writelines(csv_rows(POINTS, point_batches(database, mapping, ItemFilter())))
    with database.reading() as session:
        figure = plots.mapping_figure(mapping.name, *mapping_parts(session, mapping))
        rows = chosen(session, fit)
    (out / "plot.html").write_text(plots.page(figure, mapping.name), encoding="utf-8")
    return rows


def _report(rows: Sequence[FitMatch], mapping: Mapping, out: Path) -> None:
    """The chosen functions as a table, and what was written."""
    grid = Grid("training", "ideal", title="Chosen functions", title_justify="left")
    for column in ("sse", "rmse", "max deviation", "limit", "points"):
        grid.add_column(column, justify="right")
    for row, function in zip(rows, mapping.functions, strict=True):
        figures = (row.sse, row.rmse, row.max_deviation, function["limit"])
        shown = ["–" if figure is None else f"{figure:.6g}" for figure in figures]
        grid.add_row(
            escape(row.training), escape(row.ideal), *shown, f"{function['n_assignments']}"
        )
    console = Console()
    console.print(grid)
    console.print(
        f"{mapping.mapped_points} of {mapping.n_points} points mapped,"
        f" {mapping.n_assignments} assignments; not mapped: "
        + ", ".join(f"{reason} {count}" for reason, count in mapping.unmapped_reasons.items()),
        highlight=False,
    )
    for name in ("plot.html", "mapped.csv", "project.db"):
        click.echo(out / name)


if __name__ == "__main__":
    main()
