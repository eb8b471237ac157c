"""The committed OpenAPI document, for tests of each operation."""

from __future__ import annotations

import json
from pathlib import Path

PATH = Path(__file__).parents[2] / "openapi/openapi.json"
DOCUMENT = json.loads(PATH.read_text())
METHODS = ("get", "post", "patch", "put", "delete")

OPERATIONS = [
    (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in METHODS
]
ROUTES = [(method, path) for method, path, _ in OPERATIONS]
READ = [path for method, path in ROUTES if method == "GET"]


def resolve(node):
    """What a $ref stands for, at the top level."""
    while "$ref" in node:
        target = DOCUMENT
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def address(path, some):
    """A path with the ids of records that exist."""
    return path.format(
        slug="grid-mismatch",
        dataset_id=some.dataset["id"],
        fit_id=some.fit["id"],
        mapping_id=some.mapping["id"],
        index=0,
    )
