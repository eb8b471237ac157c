"""An invalid DATABASE_URL ends the start with one line that shows no part of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from api.config import SettingError, Settings

SECRET = "tail"  # noqa: S105 - part of a password that must not be shown


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "sqlite:///a.db",
            "sqlite:////tmp/a@b.db",
            "postgres://u@[::1]:5432/n?sslmode=require",
        ),
        *("postgresql://u:p@h/n", "postgresql+psycopg://postgres:@/name?host=/tmp/a b"),
        *("postgresql://", "postgresql:///n", "postgresql://u:p%40%2F%3A@h.x-y:1/n"),
        *("postgresql://u:p#a?b/c:d@h/n", "postgresql://u:p@h1,h2/n"),
    ],
)
def test_a_url_that_can_be_used(url):
    assert Settings.from_environment({"DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize(
    "url",
    [
        *(f"postgresql://{SECRET}:p@h:{port}/n" for port in ("abc", "99999", "0", "-1", "1.5")),
        *(f"postgresql://u:p@{SECRET}@h/n", f"postgresql://u:p@h@{SECRET}/n"),
        *(f"postgresql://u/p:{SECRET}@h/n", f"postgresql://u:12{SECRET}"),
        f"postgresql://user/5:1/{SECRET}@h/n",
        *(f"mysql://u:{SECRET}@h/n", f"u:{SECRET}@h", f"postgresql:u:{SECRET}@h/n"),
        f"postgresql+nothing://u:{SECRET}@h/n",
    ],
)
def test_a_url_that_cannot_be_used(url):
    with pytest.raises(SettingError) as raised:
        Settings.from_environment({"DATABASE_URL": url})
    said = str(raised.value)
    assert said.startswith("DATABASE_URL: ")
    assert SECRET not in said
    assert "\n" not in said
    assert raised.value.__suppress_context__


@pytest.mark.slow
def test_the_command_line_says_it_in_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", "migrate"],
        env={"DATABASE_URL": f"postgresql://u:{SECRET}@h:port/n"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: DATABASE_URL: ")
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stderr + done.stdout
