"""The lines of a JCAMP-DX file as labels with their values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from services.files.jcamp_numbers import Line

MOST_CHARACTERS = 4096
"""Characters of a value that are kept."""

_LINE = re.compile(rb"([^\r\n]*)(?:\r{0,2}\n|\r|\Z)")
_IGNORED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufeff]")
"""Control characters, such as the end of a text in DOS, and a byte order mark."""

_SEPARATORS = re.compile(r"[\s/_-]")


class Record(NamedTuple):
    """A label and its value.

    Parameters
    ----------
    label : str
        The label as it is compared: in capitals, without blanks, ``/``, ``_`` and ``-``.
    name : str
        The label as it is written.
    value : str
        Text behind the label on its line.
    line : int
        Number of the line, from 1.
    """

    label: str
    name: str
    value: str
    line: int


class Lines:
    """Lines of a file, which are read once, from the first to the last.

    Parameters
    ----------
    data : bytes-like
        The file.
    """

    def __init__(self, data: Any) -> None:
        self._lines = _split(data)
        self._next = next(self._lines, None)

    def records(self) -> Iterator[Record]:
        """Yield all labels; what `body` did not read of a value is passed over.

        Yields
        ------
        Record
        """
        while self._next is not None:
            number, text = self._next
            self._next = next(self._lines, None)
            if text.startswith("##"):
                name, _, value = text[2:].partition("=")
                yield Record(compare_label(name), " ".join(name.split()), value.strip(), number)

    def body(self) -> Iterator[Line]:
        """Yield the lines before the next label.

        Yields
        ------
        Line
        """
        while self._next is not None and not self._next[1].startswith("##"):
            yield self._next
            self._next = next(self._lines, None)

    def read_value(self, record: Record) -> str:
        """Read a value that may go on behind its first line.

        Parameters
        ----------
        record : Record
            The label.

        Returns
        -------
        str
            The lines, as far as they are kept.
        """
        kept, length = [record.value], len(record.value)
        for _, text in self.body():
            if length < MOST_CHARACTERS:
                kept.append(text)
                length += len(text)
        return "\n".join(kept).strip()[: MOST_CHARACTERS + 1]


def compare_label(name: str) -> str:
    """Return a label as it is compared.

    Parameters
    ----------
    name : str
        The label as it is written.

    Returns
    -------
    str
    """
    return _SEPARATORS.sub("", name).upper()


def _split(data: Any) -> Iterator[Line]:
    for number, match in enumerate(_LINE.finditer(data), 1):
        text = _decode(match[1])
        yield number, _IGNORED.sub("", text.partition("$$")[0]).strip()


def _decode(line: bytes) -> str:
    """Decode a line; the standard has ASCII, and files have either of these."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("windows-1252", "replace")
