"""NumPy follows the fields of a match."""

import numpy as np

from services.scoring.matches import FIGURES, MATCH_FIELDS, Match


def test_a_match_is_its_place_and_the_figures_of_a_ranking():
    assert Match._fields == ("training_index", "rank", *FIGURES.names)
    kinds = {field.name: field.kind for field in MATCH_FIELDS}
    for name in FIGURES.names:
        assert FIGURES[name] == np.dtype(kinds[name])


def test_every_position_of_a_curve_follows_its_name():
    names = [field.name for field in MATCH_FIELDS]
    assert names[:5] == ["training", "training_index", "rank", "ideal", "ideal_index"]
    assert set(names) - set(Match._fields) == {"training", "ideal"}
