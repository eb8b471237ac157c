"""Names for the curves of many files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidTable
from services.files.titles import find_stem, make_titles


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a.csv", "a"),
        ("s/a.b.txt", "a.b"),
        ("a.csv.gz", "a"),
        ("a.CSV.ZST", "a"),
        ("a", "a"),
        ("s/ a .txt", "a"),
        ("a.gz", "a"),
    ],
)
def test_a_stem_has_neither_folder_nor_suffix(path, stem):
    assert find_stem(path) == stem


@pytest.mark.parametrize(
    ("paths", "titles"),
    [
        (["a.csv", "b.csv"], ["a", "b"]),
        (["s/1.txt", "t/1.txt", "t/2.txt"], ["s/1", "t/1", "2"]),
        (["a/s/1.txt", "b/s/1.txt", "b/t/1.txt"], ["a/s/1", "b/s/1", "t/1"]),
        (["1.txt", "s/1.txt"], ["1", "s/1"]),
        (["s/1.txt", "r/s/1.txt"], ["s/1", "r/s/1"]),
    ],
)
def test_stems_that_repeat_get_folders(paths, titles):
    assert make_titles(paths) == titles


def test_both_files_of_one_name_are_named():
    with pytest.raises(InvalidTable, match=r"'s/1\.csv' or 's/1\.txt'") as found:
        make_titles(["s/1.txt", "a.txt", "s/1.csv"])
    assert [fact.file for fact in found.value.facts] == ["s/1.csv"]


NAMES = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)


@given(st.lists(NAMES, unique=True, max_size=8))
def test_titles_are_different_ends_of_the_paths(paths):
    titles = make_titles(paths)
    assert len({*titles}) == len(paths)
    assert all(
        path == title or path.endswith(f"/{title}")
        for path, title in zip(paths, titles, strict=True)
    )
