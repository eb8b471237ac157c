"""The pictures of docs/architecture.md agree with the imports, and code comes in small parts.

To rewrite them: python -m tests.test_architecture
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/architecture.md"
PICTURE = re.compile(r"(?<=## Rooms of the )(\w+)(\n.*?```\n)(.*?)(?=```)", re.DOTALL)


def layers(package):
    """Rooms of a package from the outside in, as import-linter holds them."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for contract in config["tool"]["importlinter"]["contracts"]:
        if contract.get("containers") == [package]:
            return [room for layer in contract["layers"] for room in sorted(layer.split(" | "))]
    raise LookupError(package)


def picture(package):
    """Each room of a package with the rooms that it imports."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=True)
    rooms = layers(package)
    lines = []
    for room in rooms:
        found = {
            imported.split(".")[1]
            for module in graph.modules
            if module.split(".")[1:2] == [room]
            for imported in graph.find_modules_directly_imported_by(module)
            if imported.count(".")
        }
        arrows = " ".join(other for other in rooms if other in found - {room})
        lines.append(f"{room:14} {arrows}".rstrip())
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("package", ["services", "api"])
def test_the_picture_is_that_of_the_imports(package):
    shown = {name: text for name, _, text in PICTURE.findall(PAGE.read_text())}
    assert shown[package] == picture(package)


FILE_LINES, FUNCTION_LINES = 400, 40
"""Most lines of a file, and of a function without its docstring."""


@pytest.mark.parametrize("package", ["services", "api"])
def test_files_and_functions_are_short(package):
    long = []
    for path in sorted((ROOT / package).rglob("*.py")):
        if "migrations" in path.parts:
            continue
        text = path.read_text()
        if text.count("\n") > FILE_LINES:
            long.append(path)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                said = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0
                if node.end_lineno - node.lineno + 1 - said > FUNCTION_LINES:
                    long.append(f"{path}: {node.name}")
    assert not long


if __name__ == "__main__":
    PAGE.write_text(PICTURE.sub(lambda m: m[1] + m[2] + picture(m[1]), PAGE.read_text()))
