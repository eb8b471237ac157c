"""The words of the choices fit the columns that keep them; PostgreSQL would refuse longer ones."""

from __future__ import annotations

from typing import get_args

import pytest

from api.store.fits import Fit
from api.store.mappings import Mapping
from services.choices import AlignmentKind, Criterion, Outside, Policy, Transform


@pytest.mark.parametrize(
    ("column", "choice"),
    [
        (Fit.criterion, Criterion),
        (Fit.transform, Transform),
        (Fit.alignment, AlignmentKind),
        (Fit.outside, Outside),
        (Mapping.policy, Policy),
        (Mapping.alignment, AlignmentKind),
    ],
    ids=str,
)
def test_no_word_is_longer_than_its_column(column, choice):
    assert max(map(len, get_args(choice))) <= column.type.length
