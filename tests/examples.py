"""Number of examples that Hypothesis tries, and of combinations of parameters.

Of the examples all in `make test-all`, a tenth in `make test-quick`, and a fifth otherwise.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings

ALL = 100
"""Examples of a test that asks for no other number."""

settings.register_profile("all", max_examples=ALL, deadline=None)
settings.register_profile("default", settings.get_profile("all"), max_examples=ALL // 5)
settings.register_profile("quick", settings.get_profile("all"), max_examples=ALL // 10)


def examples(count):
    """Settings of a test that takes another number of examples for all."""
    return settings(max_examples=-(-count * settings().max_examples // ALL))


def combinations(*axes):
    """Make all combinations of the values of some parameters, which `make test-all` tries.

    `make test` tries each combination of the others with one value of the shortest, in turn.
    """
    share = min(map(len, axes))
    return [
        pytest.param(
            *(axis[place] for axis, place in zip(axes, places, strict=True)),
            marks=[pytest.mark.thorough] if sum(places) % share else [],
        )
        for places in itertools.product(*(range(len(axis)) for axis in axes))
    ]
