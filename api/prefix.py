"""Service below a path, whether or not a proxy in front of it removes the path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Prefix:
    """WSGI middleware that takes the path of the service from its settings, from no header.

    A path with the prefix and one without it are the same address. Links that the service makes
    have the prefix, because they are read outside.
    """

    def __init__(self, application: Callable[..., Any], prefix: str) -> None:
        self.application = application
        self.prefix = prefix

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ["SCRIPT_NAME"] = self.prefix
        path = environ.get("PATH_INFO", "")
        if self.prefix and (path == self.prefix or path.startswith(f"{self.prefix}/")):
            environ["PATH_INFO"] = path[len(self.prefix) :] or "/"
        return self.application(environ, start_response)
