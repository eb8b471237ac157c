"""The log has one line for each event, as text or JSON, and no secrets."""

from __future__ import annotations

import json
import logging
import re

import pytest

from api import logs
from api.connections.request_log import parse_trace_id

EVIL = 'a\nb\r\x1b[31m\u2028"c" d=e\x7f\x85'


@pytest.fixture
def log():
    """A logger of ours; what is set up is put back."""
    names = ("_srcfile", "logThreads", "logMultiprocessing", "raiseExceptions")
    kept = {name: getattr(logging, name) for name in names if hasattr(logging, name)}
    found = logging.getLogger()
    handlers, levels = found.handlers[:], [logging.getLogger(name).level for name in logs.OURS]
    yield logging.getLogger("api.test")
    found.handlers[:] = handlers
    for name, level in zip(logs.OURS, levels, strict=True):
        logging.getLogger(name).setLevel(level)
    for name, value in kept.items():
        setattr(logging, name, value)


def test_a_readable_line(log, capsys):
    logs.set_up("text")
    logs.log_event(log, "happened", id="x1", route="", nothing=None, said="two words")
    line = capsys.readouterr().err
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO \d+ api\.test: happened id=x1 route=""'
        r' said="two words"\n',
        line,
    )


def test_a_line_of_json(log, capsys):
    logs.set_up("json", "debug")
    logs.log_event(log, "happened", logging.DEBUG, id="x1", nothing=None)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("Z")
    assert line.pop("process") > 0
    assert line == {"level": "debug", "logger": "api.test", "message": "happened", "id": "x1"}


@pytest.mark.parametrize("form", logs.FORMATS)
def test_nothing_makes_two_lines(log, capsys, form):
    logs.set_up(form)
    logs.log_event(log, EVIL, said=EVIL, bytes=b"\xff", surrogate="\ud800")
    log.warning("said %s", EVIL)
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 2
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", said)


@pytest.mark.parametrize("form", logs.FORMATS)
def test_an_exception_is_told_without_its_words(log, capsys, form):
    logs.set_up(form)
    try:
        raise ValueError("the value is secret")  # noqa: TRY301 - the place is looked for
    except ValueError:
        log.exception("request r1 failed")
    said = capsys.readouterr().err
    assert "secret" not in said
    assert "ValueError" in said
    assert "test_logs.py:" in said
    assert all(line.startswith("    ") for line in said.splitlines()[1:])


def test_at_level_debug_an_exception_has_its_words(log, capsys):
    logs.set_up("text", "debug")
    try:
        raise ValueError("the value\nis this")  # noqa: TRY301 - the place is looked for
    except ValueError:
        log.exception("request r1 failed")
    assert r"ValueError: the value\nis this" in capsys.readouterr().err


def test_the_last_set_up_holds(log, capsys):
    logs.set_up("text")
    logs.set_up("json", "warning")
    logs.log_event(log, "not heard")
    log.warning("heard")
    assert json.loads(capsys.readouterr().err)["message"] == "heard"


TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE),
        (f"01-{TRACE}-{PARENT}-01-more", TRACE),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}-01\n", None),
        ("", None),
        (None, None),
    ],
)
def test_the_trace_of_a_caller(header, found):
    assert parse_trace_id(header) == found
