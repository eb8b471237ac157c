"""The command line: `idealfit --help`.

Only declares the commands. Each loads what it runs when it is called, so that help comes at once.
"""

from __future__ import annotations

import math
import os
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import click

from services.choices import AlignmentKind, Criterion, Outside, Policy, Sign, Transform

# ruff: noqa: PLC0415 - a command loads what it runs when it is called

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

LIBRARY_SUFFIXES = (".parquet", ".arrow", ".feather", ".csv")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="idealfit")
def cli() -> None:
    """Find out which known curve this is.

    Idealfit picks, for each measured curve, the curve of a library that fits it best, and says
    for every later point which chosen curve admits it.

    \b
      idealfit serve                        the HTTP service
      idealfit fit unknown.csv library.csv  which curves are these? without a server
      idealfit run unknown.csv library.csv points.csv --out out
                                            the same, and which points they admit
      idealfit library spectra -o library.parquet
                                            a library of all files in a folder
      idealfit demo                         example data into a running server

    The environment sets IDEALFIT_DATA (folder of the SQLite file, default data), DATABASE_URL
    (PostgreSQL instead), HOST, PORT and IDEALFIT_CORS_ORIGINS.
    """  # noqa: D301 - click's mark for lines that it must not fill up to a paragraph


def main() -> None:
    """Run the command line; what a user can mend ends with one line."""
    try:
        cli()
    except Exception as error:
        from api.commands import reason_of_end

        reason = reason_of_end(error)
        if reason is None:
            raise
        click.echo(f"Error: {reason}", err=True)
        sys.exit(1)


def _web_processes() -> int:
    from api.processes import web_processes

    return web_processes()


def _worker_processes() -> int:
    from api.processes import worker_processes

    return worker_processes()


def _workers(least: int) -> Any:
    return click.option(
        "--workers",
        envvar="IDEALFIT_WORKERS",
        default=_worker_processes,
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
    default=_web_processes,
    show_default="by processors",
    type=click.IntRange(min=1),
    help="Web processes.",
)
@click.option(
    "--threads",
    envvar="IDEALFIT_THREADS",
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
    from api.commands import serve_http

    sys.exit(serve_http(host, port, web, threads, workers))


@cli.command()
@_workers(least=1)
def worker(workers: int) -> None:
    """Do queued fits and mappings until interrupted.

    For another machine, with the same PostgreSQL, or beside your own gunicorn. It waits until
    the database is migrated.
    """
    from api.commands import run_workers

    sys.exit(run_workers(workers))


@cli.command()
@click.argument("revision", default="head")
def migrate(revision: str) -> None:
    """Bring the database to the schema of this version, or to REVISION."""
    from api.commands import migrate_to

    migrate_to(revision)


@cli.command()
@click.option(
    "--check", is_flag=True, help="Write nothing; fail unless the file is the generated one."
)
def openapi(*, check: bool) -> None:
    """Write the OpenAPI document to openapi/openapi.json."""
    from api.commands import write_document

    write_document(check=check)


def _own_url() -> str:
    from api.config import Settings

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
    from api.commands import post_demo

    post_demo(url.rstrip("/"))


def _number(_context: object, _option: object, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        # JSON, which the service reads, has no others.
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


def _choice(name: str, words: Any, default: str, text: str) -> Any:
    return click.option(
        f"--{name}",
        type=click.Choice(get_args(words)),
        default=default,
        show_default=True,
        help=text,
    )


class ReadingCommand(click.Command):
    """A command with options for reading files, which are made when they are needed.

    `joining` names the options of joining files to one, if it does so.
    """

    joining: tuple[str, ...] = ()

    @cached_property
    def _reading(self) -> list[click.Option]:
        from api.reading import READ_NAMES, make_options

        return make_options([*self.joining, *READ_NAMES])

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the arguments and all options."""
        return [*super().get_params(ctx), *self._reading]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options for reading files under a title of their own."""
        for title, params in (
            ("Options", super().get_params(ctx)),
            ("How files are read", self._reading),
        ):
            options = [param for param in params if isinstance(param, click.Option)]
            records = [option.get_help_record(ctx) for option in options]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record])


def _files_read(*names: str) -> Any:
    return click.option(
        "--for",
        "read_for",
        type=click.Choice(names),
        multiple=True,
        help='Repeat it: the files that the options under "How files are read" are for.'
        "  [default: all]",
    )


def _take_files(options: dict[str, Any], **paths: Path | None) -> list[Any]:
    """Take the fields for reading out of the options; return each path with those for it."""
    from api.reading import take_fields

    given, named = take_fields(options), options.pop("read_for") or paths
    return [
        (path, given if name in named else {}) for name, path in paths.items() if path is not None
    ]


def _fit_options(command: Any) -> Any:
    for option in (
        click.option("--min-overlap", type=float, callback=_number, default=1.0, show_default=True),
        _choice("outside", Outside, "reject", "Training x that the library does not cover."),
        click.option(
            "--x-tolerance",
            type=float,
            callback=_number,
            help="For exact alignment.  [default: 1e-6 steps]",
        ),
        _choice("alignment", AlignmentKind, "exact", "How x is found in the library's grid."),
        _choice("sign", Sign, "any", "Whether a fitted scale may be negative."),
        _choice("transform", Transform, "none", "What a library curve stands for."),
        _choice("criterion", Criterion, "sse", "What ranks the library curves."),
    ):
        command = option(command)
    return command


@cli.command(cls=ReadingCommand)
@click.argument("unknown", type=FILE)
@click.argument("library", type=FILE)
@click.option("--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Matches.")
@click.option("--out", type=FOLDER, help="Folder for plot.html and matches.csv.")
@_fit_options
@_files_read("unknown", "library")
def fit(unknown: Path, library: Path, top_k: int, out: Path | None, **options: Any) -> None:
    """Tell which curves of LIBRARY fit those of UNKNOWN best.

    The files may have any format that the service reads: CSV, TSV, Parquet, Arrow, XLSX, JSON,
    JCAMP-DX, SPC, packed with gzip or zstd or not. Prints the best matches of each curve; no server
    is needed.
    """
    from api.local import identify

    files = _take_files(options, unknown=unknown, library=library)
    identify(files, out, options | {"top_k": top_k})


class JoiningCommand(ReadingCommand):
    """A command that joins the curves of many files to one table."""

    joining = ("grid", "x_tolerance", "alignment")


def _library_file(_context: object, _option: object, path: Path) -> Path:
    if path.suffix.lower() not in LIBRARY_SUFFIXES:
        raise click.BadParameter(f"{path} ends with none of {', '.join(LIBRARY_SUFFIXES)}.")
    return path


@cli.command(cls=JoiningCommand)
@click.argument("paths", metavar="FOLDER_OR_FILE...", type=EXISTING, nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_library_file,
    required=True,
    help=f"The library; its format is that of the suffix: {', '.join(LIBRARY_SUFFIXES)}.",
)
@click.option("--skip-unreadable", is_flag=True, help="Leave out files that cannot be read.")
def library(
    paths: tuple[Path, ...], output: Path, *, skip_unreadable: bool, **options: Any
) -> None:
    """Make one library of many files, for `idealfit fit`.

    Takes all files of a folder and the folders in it, single files, or a ZIP archive. A curve is
    called by the stem of its file. Hidden files are left out. Units and attributes of the curves
    are kept in all formats but CSV.

    \b
      idealfit library spectra --grid 400:1800:2 -o library.parquet
      idealfit fit unknown.jdx library.parquet --alignment linear
    """  # noqa: D301 - click's mark, as above
    from api.library import make_library
    from api.reading import JOIN_NAMES, READ_NAMES, take_fields

    fields = take_fields(options, (*JOIN_NAMES, *READ_NAMES))
    make_library(paths, output, fields | ({"skip_unreadable": "true"} if skip_unreadable else {}))


@cli.command(cls=ReadingCommand)
@click.argument("training", type=FILE)
@click.argument("ideal", type=FILE)
@click.argument("test", type=FILE, required=False)
@click.option("--out", type=FOLDER, help="Folder for plot.html and the tables; needed to map TEST.")
@_fit_options
@_choice("policy", Policy, "all", "Which of the functions that admit a point.")
@click.option("--tolerance-factor", type=float, callback=_number, default=2**0.5, show_default="√2")
@_files_read("training", "ideal", "test")
def run(training: Path, ideal: Path, test: Path | None, out: Path | None, **options: Any) -> None:
    """Fit TRAINING to the library IDEAL and map the points of TEST.

    The files may have any format that the service reads. Prints the chosen functions and writes
    plot.html, mapped.csv and project.db. Without TEST it tells which curves fit, as `idealfit fit`
    does with one match.
    """
    from api.local import classify, identify

    files = _take_files(options, training=training, ideal=ideal, test=test)
    mapped = {name: options.pop(name) for name in ("policy", "tolerance_factor")}
    if test is None:
        identify(files, out, options)
    elif out is None:
        raise click.UsageError("Say where the files go: --out FOLDER.")
    else:
        classify(files, out, options, mapped)


if __name__ == "__main__":
    main()
