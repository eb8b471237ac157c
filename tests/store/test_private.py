"""Only their owner can read stored files."""

from __future__ import annotations

import logging
import sqlite3

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from api.cli import cli
from api.store.base import Database
from api.store.private import keep_private
from api.store.reasons import reason_of


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("before", [0o755, 0o750, 0o777, 0o701])
def test_an_existing_folder_of_ours_is_closed(tmp_path, before):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "idealfit.db-wal").touch()
    folder.chmod(before)
    keep_private(folder)
    assert mode(folder) == 0o700


def test_a_folder_that_is_used_for_more_stays_as_it_is(tmp_path, caplog):
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "notes.txt").touch()
    folder.chmod(0o755)
    with caplog.at_level(logging.WARNING):
        keep_private(folder)
    assert mode(folder) == 0o755
    (record,) = caplog.records
    assert f"chmod 700 {folder}" in record.getMessage()


def test_a_folder_that_is_closed_is_left_alone(tmp_path, caplog):
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    keep_private(folder)
    assert mode(folder) == 0o500
    assert not caplog.records


def test_the_start_closes_the_folder(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    done = CliRunner().invoke(cli, ["migrate"], env={"IDEALFIT_DATA": str(folder)})
    assert done.exit_code == 0, done.output
    assert mode(folder) == 0o700


def test_an_error_shows_no_parameter(database):
    """Names and ids are parameters; neither the error nor its reason in the log has them."""
    secret = "the-name-of-a-sample"  # noqa: S105 - no password
    values = {"id": secret, "name": secret}
    for statement in (
        "INSERT INTO datasets (id, name) VALUES (:id, :name)",
        "SELECT nothing FROM nowhere WHERE id = :id AND name = :name",
    ):
        with pytest.raises(DBAPIError) as raised, database.writing() as session:
            session.execute(text(statement), values)
        assert secret not in str(raised.value).split("DETAIL")[0]
        assert secret not in reason_of(raised.value)
        assert "\n" not in reason_of(raised.value)


def test_the_reason_of_a_wrong_value_does_not_quote_it(database):
    """PostgreSQL does, in its first line."""
    secret = "the-name-of-a-sample"  # noqa: S105 - no password
    statement = "SELECT CAST(:id AS integer) + abs(-9223372036854775807 - 1)"
    with pytest.raises(DBAPIError) as raised, database.reading() as session:
        session.execute(text(statement), {"id": secret}).all()
    for error in (raised.value, raised.value.orig):
        assert secret not in reason_of(error)
        assert reason_of(error).startswith(f"{type(error).__name__}: ")


@pytest.mark.parametrize("kind", [IntegrityError, OperationalError])
def test_the_reason_of_an_error_is_one_line(kind):
    error = kind("SELECT 1", {}, sqlite3.Error("database is locked\nDETAIL: Key (name)=(secret)"))
    assert reason_of(error) == f"{kind.__name__}: database is locked"


def test_a_new_folder_is_closed(tmp_path):
    done = CliRunner().invoke(cli, ["migrate"], env={"IDEALFIT_DATA": str(tmp_path / "new")})
    assert done.exit_code == 0, done.output
    assert mode(tmp_path / "new") == 0o700
    assert mode(tmp_path / "new" / "idealfit.db") == 0o600
    Database(f"sqlite:///{tmp_path / 'new' / 'idealfit.db'}").close()
