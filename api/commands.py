"""Implementation of the commands that serve, migrate and document."""

from __future__ import annotations

import functools
import os
import socket
import sys
import tempfile
from pathlib import Path

import click
import orjson
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from api import demo, examples, logs, metrics
from api.app import create_app
from api.config import SettingError, Settings
from api.jobs.worker import work
from api.processes import Run, Supervisor
from api.running import running
from api.server import Server
from api.store.base import Database, new_id
from api.store.migrate import migrate
from api.store.private import keep_private

OPENAPI = Path("openapi/openapi.json")


def reason_of_end(error: Exception) -> str | None:
    """Say in one line why a command ended; None for an error that only a developer can mend."""
    expected = (SettingError, SQLAlchemyError, CommandError, ModuleNotFoundError, OSError)
    if not isinstance(error, expected):
        return None
    if getattr(error, "name", None) == "psycopg":
        return "PostgreSQL needs its driver: pip install 'idealfit[postgres]'"
    return str(getattr(error, "orig", error)).strip().splitlines()[0]


def serve_http(host: str, port: int, web: int, threads: int, workers: int) -> int:
    """Migrate the database and serve until told to stop; return the exit code."""
    settings = _prepare()
    _migrate(settings)
    _refuse_busy(host, port)
    url = f"http://{host}:{port}{settings.prefix}"
    click.echo(f"Idealfit  {url}/\nDocs      {url}/docs\nData      {_describe_database(settings)}")
    sys.stdout.flush()
    server = Server(host, port, web, threads)
    children = {"web": lambda _name, parent, report: server.serve(parent, report)}
    code = Supervisor(children | _worker_children(settings, workers)).run()
    database = Database(settings.url)
    database.settle()
    database.close()
    return code


def run_workers(count: int) -> int:
    """Do queued jobs until told to stop; return the exit code."""
    settings = _prepare()
    return Supervisor(_worker_children(settings, count)).run()


def _prepare() -> Settings:
    """Read the settings of a service, and set up the log and the counters of all its processes."""
    settings = Settings.from_environment()
    logs.set_up(settings.log_format, settings.log_level)
    metrics.share()
    return settings


def _worker_children(settings: Settings, count: int) -> dict[str, Run]:
    """Make the workers, with names that are unique on all machines."""
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


def migrate_to(revision: str) -> None:
    """Bring the database to a revision of the schema."""
    settings = Settings.from_environment()
    _migrate(settings, revision)
    click.echo(f"{_describe_database(settings)} is at {revision}.")


def _migrate(settings: Settings, revision: str = "head") -> None:
    os.umask(0o077)  # what is stored is for its owner only
    database = Database(settings.url)
    try:
        if database.sqlite:
            keep_private(Path(database.url.database or "").parent)
        migrate(database, revision)
    finally:
        database.close()


def _describe_database(settings: Settings) -> str:
    """Describe the database, without its password."""
    url = Database(settings.url).url
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string()


def write_document(*, check: bool) -> None:
    """Write the OpenAPI document, or fail unless the file is the generated one."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data=Path(folder)))
        document = running(app).document.finished
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    text = orjson.dumps(document, option=options)
    if not check:
        OPENAPI.parent.mkdir(exist_ok=True)
        OPENAPI.write_bytes(text)
    elif not OPENAPI.exists() or OPENAPI.read_bytes() != text:
        raise click.ClickException(f"{OPENAPI} is not the generated one; run idealfit openapi.")


def post_demo(url: str) -> None:
    """Post the example data to a running server and say where to look."""
    try:
        mapping_id = demo.post_examples(url)
    except demo.NoServerError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Posted the examples of {examples.FOLDER}. Look at:")
    click.echo(f"  {url}/v1/mappings/{mapping_id}/plot\n  {url}/")
