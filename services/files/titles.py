"""Names for the curves of many files, from the names of the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from services.errors import MOST_FACTS, Fact, InvalidTable, quote
from services.files.formats import COMPRESSION_OF_SUFFIX


def find_stem(path: str) -> str:
    """Find the stem of the name of a file, without the suffix of its compression.

    Parameters
    ----------
    path : str
        Its path, with slashes.

    Returns
    -------
    str
        As ``1`` of ``silicon/1.txt.gz``.
    """
    name = PurePosixPath(path)
    if name.suffix.lower() in COMPRESSION_OF_SUFFIX:
        name = name.with_suffix("")
    return name.stem.strip()


def make_titles(paths: Sequence[str]) -> list[str]:
    """Name each file by its stem; those that repeat get as many of their folders as differ.

    Parameters
    ----------
    paths : sequence of str
        Paths of the files, with slashes.

    Returns
    -------
    list of str
        As ``silicon/1`` of ``oxford/silicon/1.txt``, if another file is called 1.

    Raises
    ------
    InvalidTable
        Two files have the same name in the same folder, but for the suffix.
    """
    parts = [[*PurePosixPath(path).parts[:-1], find_stem(path)] for path in paths]
    titles = [own[-1] for own in parts]
    for depth in range(2, max(map(len, parts), default=0) + 1):
        counts = Counter(titles)
        repeated = [at for at, title in enumerate(titles) if counts[title] > 1]
        if not any(len(parts[at]) >= depth for at in repeated):
            break
        for at in repeated:
            titles[at] = "/".join(parts[at][-depth:])
    _refuse_repeated(paths, titles)
    return titles


def _refuse_repeated(paths: Sequence[str], titles: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    facts = []
    for path, title in zip(paths, titles, strict=True):
        if title in seen:
            detail = f"Rename {quote(path)} or {quote(seen[title])}; both give a curve"
            facts.append(Fact(f"{detail} {quote(title)}.", "duplicate_name", file=path))
        seen.setdefault(title, path)
    if facts:
        raise InvalidTable(facts[0].detail, facts[:MOST_FACTS])
