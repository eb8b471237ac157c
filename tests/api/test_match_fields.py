"""The fields of a match stand once (services/scoring/matches.py); all others follow them."""

from marshmallow import fields

from api.schemas.fits import MatchReply
from api.store.fits import FitMatch
from services.scoring.matches import MATCH_FIELDS

KINDS = {fields.String: str, fields.Integer: int, fields.Float: float, fields.List: list}


def test_the_columns_of_a_match_are_its_fields():
    columns = [c for c in FitMatch.__table__.columns if c.key not in {"fit_id", "ordinal"}]
    assert [(c.key, c.type.python_type, bool(c.nullable)) for c in columns] == list(MATCH_FIELDS)


def test_the_reply_of_a_match_has_its_fields():
    found = MatchReply().fields.items()
    assert [(name, KINDS[type(f)], f.allow_none) for name, f in found] == list(MATCH_FIELDS)
    assert all(field.required for _, field in found)
