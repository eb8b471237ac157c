"""The command line: `idealfit --help`.

Only declares the commands. Each loads what it runs when it is called, so that help comes at once.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any, get_args

import click

from services.choices import AlignmentKind, Criterion, Outside, Policy, Sign, Transform

# ruff: noqa: PLC0415 - a command loads what it runs when it is called

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


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


@cli.command()
@click.argument("unknown", type=FILE)
@click.argument("library", type=FILE)
@click.option("--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Matches.")
@click.option("--out", type=FOLDER, help="Folder for plot.html and matches.csv.")
@_fit_options
def fit(unknown: Path, library: Path, top_k: int, out: Path | None, **options: Any) -> None:
    """Tell which curves of LIBRARY fit those of UNKNOWN best.

    The files may have any format that the service reads: CSV, TSV, Parquet, Arrow, XLSX, JSON,
    JCAMP-DX, SPC, packed with gzip or zstd or not. Prints the best matches of each curve; no server
    is needed.
    """
    from api.local import identify

    identify(unknown, library, out, options | {"top_k": top_k})


@cli.command()
@click.argument("training", type=FILE)
@click.argument("ideal", type=FILE)
@click.argument("test", type=FILE, required=False)
@click.option("--out", type=FOLDER, help="Folder for plot.html and the tables; needed to map TEST.")
@_fit_options
@_choice("policy", Policy, "all", "Which of the functions that admit a point.")
@click.option("--tolerance-factor", type=float, callback=_number, default=2**0.5, show_default="√2")
def run(training: Path, ideal: Path, test: Path | None, out: Path | None, **options: Any) -> None:
    """Fit TRAINING to the library IDEAL and map the points of TEST.

    The files may have any format that the service reads. Prints the chosen functions and writes
    plot.html, mapped.csv and project.db. Without TEST it tells which curves fit, as `idealfit fit`
    does with one match.
    """
    from api.local import classify, identify

    mapped = {name: options.pop(name) for name in ("policy", "tolerance_factor")}
    if test is None:
        identify(training, ideal, out, options)
    elif out is None:
        raise click.UsageError("Say where the files go: --out FOLDER.")
    else:
        classify((training, ideal, test), out, options, mapped)


if __name__ == "__main__":
    main()
