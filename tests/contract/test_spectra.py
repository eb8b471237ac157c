"""Spectra of instruments as datasets: JCAMP-DX and SPC, as a body and in a form."""

from __future__ import annotations

import pytest

from tests.calls import a_form, check_fact
from tests.files import PACK
from tests.spectra import JCAMP, SPC, SPECTRA, a_jcamp, an_spc

PATH = "/v1/datasets"
COLUMNS = {"x": [3.0, 1.0, 2.0], "y": [0.5, None, -2.0]}


@pytest.mark.parametrize("ending", SPECTRA)
class TestFormats:
    def test_a_file_of_a_form_is_called_by_its_stem(self, calls, ending):
        kind, make = SPECTRA[ending]
        record = calls.post(PATH, **a_form(("file", make(COLUMNS), f"ethanol.{ending}", kind))).json
        assert record["name"] == "ethanol"
        assert record["source"]["format"] == {"jdx": "jcamp"}.get(ending, ending)
        values = calls.get(f"{PATH}/{record['id']}/values").json["columns"]
        assert values == {"x": COLUMNS["x"], "ethanol": COLUMNS["y"]}

    def test_a_body_and_a_file_without_a_name_are_recognized(self, calls, ending):
        kind, make = SPECTRA[ending]
        headers = {"Content-Type": kind}
        one = calls.post(PATH, data=make(COLUMNS), headers=headers, params={"name": "e"})
        two = calls.post(PATH, **a_form(("file", make(COLUMNS), "e", "application/octet-stream")))
        assert one.status == 201, one.text
        assert one.json["sha256"] == two.json["sha256"]

    def test_it_may_be_packed(self, calls, ending):
        _, make = SPECTRA[ending]
        file = ("file", PACK["gzip"](make(COLUMNS)), f"e.{ending}.gz")
        record = calls.post(PATH, **a_form(file)).json
        assert (record["n_gaps"], record["source"]["compression"]) == (1, "gzip")


def test_warnings_stand_in_the_record(calls):
    data = a_jcamp(["0 1 2"], FIRSTX=0, LASTX=1, NPOINTS=3)
    record = calls.post(PATH, data=data, headers={"Content-Type": JCAMP}, params={"name": "e"}).json
    (warning,) = record["warnings"]
    assert (warning["code"], warning["column"]) == ("npoints", "e")


@pytest.mark.parametrize(
    ("data", "kind", "status", "code"),
    [
        (a_jcamp(["0 1 x"], DELTAX=1), JCAMP, 422, "not_a_number"),
        (b"##TITLE=a\n##END=\n", JCAMP, 422, "no_rows"),
        (an_spc([[1, 2]])[:-1], SPC, 400, "damaged"),
        (an_spc([[1, 2]], points=2**31), SPC, 413, "too_many_rows"),
        (a_jcamp(["1,2"], "(XY..XY)") + a_jcamp(["2,3"], "(XY..XY)"), JCAMP, 422, "other_x"),
    ],
)
def test_what_is_wrong_is_told(calls, data, kind, status, code):
    reply = calls.post(PATH, data=data, headers={"Content-Type": kind}, params={"name": "e"})
    assert reply.status == status, reply.text
    assert code in [fact["code"] for fact in reply.json["errors"]]


def test_an_empty_file_is_refused(calls):
    check_fact(calls.post(PATH, **a_form(("file", b"", "a.jdx"))), 422, code="no_rows")


def test_sheets_and_headers_mean_nothing_in_spectra(calls):
    reply = calls.post(PATH, **a_form(("file", an_spc([[1, 2]]), "a.spc"), ("sheet", "S")))
    check_fact(reply, 422, parameter="sheet")


def test_the_client_may_choose_tables_and_the_decimal_mark(calls):
    blocks = [a_jcamp(["1,5 2,5"], "(XY..XY)", TITLE=title) for title in "ab"]
    form = a_form(("file", b"".join(blocks), "a.jdx"), ("columns", "b"), ("decimal", ","))
    record = calls.post(PATH, **form).json
    values = calls.get(f"{PATH}/{record['id']}/values").json["columns"]
    assert values == {"x": [1.5], "b": [2.5]}
    form = a_form(("file", an_spc([[1, 2]] * 3), "a.spc"), ("columns", "#3"))
    assert calls.post(PATH, **form).json["n_curves"] == 1


def test_a_decimal_mark_means_nothing_in_spc(calls):
    reply = calls.post(PATH, **a_form(("file", an_spc([[1, 2]]), "a.spc"), ("decimal", ",")))
    check_fact(reply, 422, parameter="decimal")
