"""Example data posted to a running server, as any client would."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any, cast

import orjson

from api.examples import FOLDER


class NoServerError(Exception):
    """No Idealfit server answers at the address."""


def post_examples(url: str) -> str:
    """Post the three files, a fit and a mapping; return the id of the mapping."""
    ids = {
        name: _post(
            f"{url}/v1/datasets?name=example-{name}",
            (FOLDER / f"{name}.csv").read_bytes(),
            "text/csv",
        )
        for name in ("training", "ideal", "test")
    }
    fit = _post_json(f"{url}/v1/fits", training_id=ids["training"], ideal_id=ids["ideal"])
    return _post_json(f"{url}/v1/mappings", fit_id=fit, test_id=ids["test"])


def _post_json(url: str, **fields: str) -> str:
    return _post(url, orjson.dumps(fields), "application/json")


def _post(url: str, body: bytes, content_type: str) -> str:
    """Post and return the id of the new record."""
    if not url.startswith(("http://", "https://")):
        raise NoServerError(f"{url} is no http address.")
    request = urllib.request.Request(url, body, {"Content-Type": content_type})  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
            return cast("str", orjson.loads(reply.read())["id"])
    except urllib.error.HTTPError as error:
        raise NoServerError(f"{url} answers {error.code}: {_detail(error.read())}") from None
    except (OSError, ValueError, KeyError) as error:
        raise NoServerError(
            f"No Idealfit answers at {url} ({error});"
            " start one with: idealfit serve, or say where it is with --url"
        ) from None


def _detail(body: bytes) -> Any:
    try:
        return orjson.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
