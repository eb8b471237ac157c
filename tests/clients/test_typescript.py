"""The types that openapi-typescript generates, with openapi-fetch: they are right, and work."""

from __future__ import annotations

import os
import shutil

import pytest

from api.examples import FOLDER
from tests.clients.test_python import HERE, run
from tests.contract.document import PATH
from tests.files import a_parquet

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        shutil.which("npm") is None and not os.environ.get("CI"),
        reason="needs Node.js 20 or newer; on Debian: apt install npm",
    ),
]

TSC = (
    *("--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext"),
    *("--types", "node", "--outDir", "out"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the packages of the lock file, the generated types and the program."""
    folder = tmp_path_factory.mktemp("typescript")
    for name in ("package.json", "package-lock.json", "lint.mjs", "program.ts"):
        shutil.copy(HERE / name, folder)
    try:
        run("npm", "ci", "--no-audit", "--no-fund", folder=folder)
    except AssertionError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"npm cannot install the packages: {str(error)[-300:]}")
    types = ("--default-non-nullable=false", "--output", "api.ts")
    run("npx", "openapi-typescript", PATH, *types, folder=folder)
    (folder / "curves.parquet").write_bytes(a_parquet({"x": [0.0, 1.0], "y": [1.0, 2.0]}))
    return folder


def test_a_linter_finds_nothing(folder):
    run("node", "lint.mjs", PATH, folder=folder)


def test_a_program_is_strictly_typed_and_works(folder, server):
    run("npx", "tsc", *TSC, "program.ts", folder=folder)
    said = run("node", "out/program.js", server.url, FOLDER, "curves.parquet", folder=folder)
    assert said == "all of it works\n"
