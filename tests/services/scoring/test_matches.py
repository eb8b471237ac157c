"""NumPy follows the fields of a match."""

import numpy as np

from services.scoring.matches import (
    FIGURES,
    MATCH_FIELDS,
    WARNINGS,
    Match,
    bit_of,
    list_warnings,
)


def test_a_match_is_its_place_and_the_figures_of_a_ranking():
    names = FIGURES.names[:-1]
    assert Match._fields == ("training_index", "rank", *names, "margin", "warnings")
    kinds = {field.name: field.kind for field in MATCH_FIELDS}
    for name in names:
        assert FIGURES[name] == np.dtype(kinds[name])


def test_every_position_of_a_curve_follows_its_name():
    names = [field.name for field in MATCH_FIELDS]
    assert names[:5] == ["training", "training_index", "rank", "ideal", "ideal_index"]
    assert set(names) - set(Match._fields) == {"training", "ideal"}


def test_warnings_are_listed_in_their_order():
    bits = sum(bit_of(word) for word in WARNINGS)
    assert list_warnings(bits) == WARNINGS
    assert [list_warnings(bit_of(word)) for word in WARNINGS] == [(word,) for word in WARNINGS]
    assert list_warnings(0) == ()
    assert len(" ".join(WARNINGS)) <= 120
