"""The client that openapi-python-client generates: its types are right, and it works unchanged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.examples import FOLDER
from tests.contract.document import PATH
from tests.files import a_parquet

HERE = Path(__file__).parent
PROGRAM = HERE / "program.py"

# The generator's own part of a client, which is the same for every document, does not pass.
MYPY = """
[mypy]
strict = True
[mypy-idealfit_client.client]
ignore_errors = True
"""

pytestmark = pytest.mark.slow


def run(*command, folder, **environment):
    """Run a program in a folder; what it prints."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the generated package `idealfit_client` and a Parquet file."""
    folder = tmp_path_factory.mktemp("python")
    generate = ("generate", "--meta", "none", "--path", PATH, "--output-path", "idealfit_client")
    run(sys.executable, "-m", "openapi_python_client", *generate, folder=folder)
    (folder / "curves.parquet").write_bytes(a_parquet({"x": [0.0, 1.0], "y": [1.0, 2.0]}))
    (folder / "mypy.ini").write_text(MYPY)
    return folder


def test_a_program_with_the_client_is_strictly_typed(folder):
    mypy = (sys.executable, "-m", "mypy", "--config-file", "mypy.ini")
    run(*mypy, PROGRAM, folder=folder, MYPYPATH=str(folder))


def test_a_program_with_the_client_works(folder, server):
    arguments = (server.url, FOLDER, "curves.parquet")
    said = run(sys.executable, PROGRAM, *arguments, folder=folder, PYTHONPATH=str(folder))
    assert said == "all of it works\n"
