"""The table of formats: every row is unlike the others, and pages, commands and tests know it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from services.files.formats import (
    COMPRESSION_OF_SUFFIX,
    COMPRESSIONS,
    FORMATS,
    WRITTEN_FORMATS,
    Content,
    facts_of,
    recognize,
)
from tests.files import FORMATS as MAKERS
from tests.files import PACK
from tests.spectra import SPECTRA, an_spc

PAGE = (Path(__file__).parents[3] / "docs/formats.md").read_text()
COLUMNS = {"x": [1.0, 2.0], "y": [3.0, None]}


def test_no_media_type_and_no_suffix_stands_for_two_formats():
    rows = [facts_of(format) for format in FORMATS]
    for words in ([row.media_types for row in rows], [row.suffixes for row in rows]):
        listed = list(chain.from_iterable(words))
        assert len(listed) == len(set(listed))


@pytest.mark.parametrize("format", FORMATS)
def test_the_page_names_every_format_that_is_read(format):
    facts = facts_of(format)
    types = ", ".join(f"`{media_type}`" for media_type in facts.media_types)
    suffixes = " ".join(f"`{suffix}`" for suffix in facts.suffixes)
    assert f"| `{format}` | {types} | {suffixes} |" in PAGE


@pytest.mark.parametrize("format", WRITTEN_FORMATS)
def test_the_page_names_every_format_that_is_written(format):
    facts = facts_of(format)
    assert f"| `{next(iter(facts.media_types))}` | `{facts.suffixes[0]}` |" in PAGE


@pytest.mark.parametrize("format", sorted({*FORMATS} - {"json"}))
def test_every_format_has_a_file_to_test_with_that_is_recognized(format):
    facts = facts_of(format)
    makers = dict([*MAKERS.values(), *SPECTRA.values()])
    made = {kind: make(COLUMNS) for kind, make in makers.items() if kind in facts.media_types}
    assert made.keys() == facts.media_types.keys()
    for media_type, data in made.items():
        assert recognize(data) in facts.media_types[media_type]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_compressed_file_has_a_suffix_and_is_recognized(compression):
    assert compression in COMPRESSION_OF_SUFFIX.values()
    assert recognize(PACK[compression](b"x,y\n1,2\n")) is Content(compression)


@pytest.mark.parametrize(
    ("head", "content"),
    [
        (b"##TITLE= a", Content.JCAMP),
        (b"\xef\xbb\xbf\r\n  ##title =", Content.JCAMP),
        (b"##TITLES=", Content.TEXT),
        (b"## x,y\n1,2\n", Content.TEXT),
        (an_spc([[1, 2]]), Content.SPC),
        (an_spc([[1, 2]], order=">", kind="i2"), Content.SPC),
        (b"\0\x4d" + bytes(300), Content.SPC),
        (an_spc([[1, 2]], types=(31, 0, 0)), Content.BINARY),
        (an_spc([[1, 2]])[:40], Content.BINARY),
        ("KILO,y\n".encode("utf-16-be") * 9, Content.TEXT),
        ("MEGA,y\n".encode("utf-16-be") * 9, Content.TEXT),
        (b"PK\x03\x04" + bytes(60), Content.ZIP),
    ],
)
def test_spectra_are_recognized_and_nothing_else_is_taken_for_one(head, content):
    assert recognize(head[:64]) == content
