"""Final changes to the OpenAPI document, for its readers and for generators of clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NAME = "x-name"
"""Key of the name of an enumeration, until it is a component."""

OFFERED = "x-offered"
"""Key of the formats of an operation's reply; the first is the one of `Accept: */*`."""

METHODS = ("get", "post", "patch", "put", "delete")


def finish(document: dict[str, Any]) -> dict[str, Any]:
    """Complete the document made from routes and schemas, in place."""
    document["info"]["license"] = {"name": "MIT", "identifier": "MIT"}
    # Set already where the service is below a prefix.
    document.setdefault("servers", [{"url": "/"}])
    document["security"] = []
    for operation in _list_operations(document):
        for parameter in operation.get("parameters", ()):
            _remove_null(parameter.get("schema", {}))
        _order_formats(operation)
    schemas = document["components"]["schemas"]
    _name_enumerations(document, schemas)
    _drop_unused(document, schemas)
    return document


def _list_operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        for method in METHODS:
            if method in path:
                yield path[method]


def _remove_null(schema: dict[str, Any]) -> None:
    """Remove null from the schema of a parameter, which is text and cannot be null."""
    if isinstance(schema.get("type"), list):
        schema["type"] = next(kind for kind in schema["type"] if kind != "null")
    if "enum" in schema:
        schema["enum"] = [word for word in schema["enum"] if word is not None]
    if schema.get("default", "") is None:
        del schema["default"]


def _order_formats(operation: dict[str, Any]) -> None:
    """Put the formats of a reply into the order in which they are offered.

    Generators of clients take the first format that they know.
    """
    offered = operation.pop(OFFERED, ())
    for response in operation["responses"].values():
        content = response.get("content", {})
        for kind in offered:
            if kind in content:
                content[kind] = content.pop(kind)


def _name_enumerations(node: Any, schemas: dict[str, Any]) -> None:
    """Make each named enumeration a component, so that generators make one type of it."""
    inner = list(node.values() if isinstance(node, dict) else node)
    for part in inner:
        if isinstance(part, dict | list):
            _name_enumerations(part, schemas)
    if isinstance(node, dict) and isinstance(name := node.get(NAME), str):
        words = [word for word in node["enum"] if word is not None]
        known = schemas.setdefault(name, {"type": "string", "enum": words})
        if known["enum"] != words:
            raise ValueError(f"{name} is {known['enum']} here and {words} there.")
        kept = {key: node[key] for key in ("default", "description") if key in node}
        reference = {"$ref": f"#/components/schemas/{name}"}
        nullable = "null" in node["type"]
        node.clear()
        node.update({"anyOf": [reference, {"type": "null"}]} if nullable else reference)
        node.update(kept)


def _drop_unused(document: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Remove schemas that nothing refers to."""
    used = set(_list_references(document))
    for name in [name for name in schemas if f"#/components/schemas/{name}" not in used]:
        del schemas[name]


def _list_references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = node.values()
    elif not isinstance(node, list):
        return
    for part in node:
        yield from _list_references(part)
