"""Number of examples that Hypothesis tries.

All in `make test-all`, a tenth in `make test-quick`, and a fifth otherwise.
"""

from __future__ import annotations

from hypothesis import settings

ALL = 100
"""Examples of a test that asks for no other number."""

settings.register_profile("all", max_examples=ALL, deadline=None)
settings.register_profile("default", settings.get_profile("all"), max_examples=ALL // 5)
settings.register_profile("quick", settings.get_profile("all"), max_examples=ALL // 10)


def examples(count):
    """Settings of a test that takes another number of examples for all."""
    return settings(max_examples=-(-count * settings().max_examples // ALL))
