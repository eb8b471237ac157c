"""The log of every process: one line for each event, readable or JSON, on standard error.

A line has no values, no names of records and no secrets. An exception is logged with its class and
its traceback; its message is added only at level `debug`, because it may quote a client.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
import traceback
from typing import Any

import orjson

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

OURS = ("api", "services")
"""Loggers whose level is set; those of libraries have `warning`."""

_BREAKING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that begin another line or control a terminal."""

_PLAIN = re.compile(r"[^\s\"'=\\]+")


def set_up(form: str = "text", level: str = "info") -> None:
    """Send the log of this process to standard error; a second call replaces the first."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSON() if form == "json" else _Text())
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, _Line):
            root.removeHandler(old)
    root.addHandler(handler)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())
    # A log on a full disk must not stop what it tells of, and no line shows these.
    logging.raiseExceptions = False
    logging.logThreads = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - as Python's documentation says


def is_set_up() -> bool:
    """Tell whether the log has a handler already."""
    return bool(logging.getLogger().handlers)


def log_event(
    log: logging.Logger, message: str, /, level: int = logging.INFO, **fields: Any
) -> None:
    """Log an event with fields that programs can search; a field of None is left out."""
    if log.isEnabledFor(level):
        # By hand, because each request does this: Logger.log takes a third longer.
        record = logging.LogRecord(log.name, level, "", 0, message, (), None)
        record.fields = fields
        log.handle(record)


def escape(text: str) -> str:
    r"""Write characters that would break a line as \n or \x1b."""
    return _BREAKING.sub(lambda found: ascii(found[0])[1:-1], text)


class _Line(logging.Formatter):
    """Common parts of both formats."""

    def time_of(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{moment}.{int(record.msecs):03d}Z"

    def fields_of(self, record: logging.LogRecord) -> dict[str, Any]:
        fields = getattr(record, "fields", {})
        return {name: value for name, value in fields.items() if value is not None}

    def exception_of(self, record: logging.LogRecord) -> list[str]:
        """Format the traceback of an exception."""
        if not record.exc_info or not (error := record.exc_info[1]):
            return []
        lines = []
        for frame in traceback.extract_tb(error.__traceback__):
            place = os.path.relpath(frame.filename) if frame.filename[:1] == "/" else frame.filename
            lines.append(f"{place}:{frame.lineno} in {frame.name}")
        return [*lines, _kind_of(error)]


def _kind_of(error: BaseException) -> str:
    kind = type(error).__name__
    if logging.getLogger(OURS[0]).isEnabledFor(logging.DEBUG):
        return f"{kind}: {error}"
    return f"{kind}: {error.strerror}" if isinstance(error, OSError) else kind


class _Text(_Line):
    """Lines for people; a traceback follows on indented lines."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [self.time_of(record), record.levelname, str(record.process), f"{record.name}:"]
        parts.append(record.getMessage())
        parts += [f"{name}={_quoted(value)}" for name, value in self.fields_of(record).items()]
        line = " ".join(parts)
        if not line.isprintable():
            line = escape(line)
        return "\n    ".join([line, *map(escape, self.exception_of(record))])


def _quoted(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


class _JSON(_Line):
    """Lines for programs."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.time_of(record),
            "level": record.levelname.lower(),
            "process": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= self.fields_of(record)
        if lines := self.exception_of(record):
            line["exception"] = lines
        try:
            # Terminals obey some characters that JSON lets stand.
            return escape(orjson.dumps(line).decode())
        except TypeError:
            return json.dumps(line, default=ascii)
