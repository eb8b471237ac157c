"""Arrow follows the fields of a match."""

from services.export.batches import MATCHES
from services.scoring.matches import MATCH_FIELDS


def test_exported_matches_have_the_same_fields():
    assert MATCHES.names == [field.name for field in MATCH_FIELDS]
    nullable = {field.name for field in MATCH_FIELDS if field.may_be_null}
    assert {field.name for field in MATCHES if field.nullable} == nullable
