"""Thousands of valid and invalid requests that schemathesis makes from our document."""

from __future__ import annotations

import random
import uuid
from collections import Counter, defaultdict
from types import SimpleNamespace

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.engine import events, from_schema

from tests.calls import POINTS, over_wsgi

EXAMPLES = 12
"""Of each operation in the phase that draws at random; the other phases add their own."""

# A schema says what is well formed. That an id exists, that a version is the current one, that
# nothing uses a record, that two lists are as long as each other, that x is a grid which the
# library covers, or that text in a cell is a number, is beyond it; these refusals are right.
ACCEPTED = ["2xx", "304", "404", "409", "412", "422", "428"]

REFUSED = ["400", "404", "405", "406", "409", "412", "415", "421", "422", "428"]

NEVER_2XX = {"POST /v1/fits/{fit_id}/cancel", "POST /v1/mappings/{mapping_id}/cancel"}
"""Fits and mappings are done in their request, so none can be cancelled."""


OF_CURVES = {
    "PATCH /v1/datasets/{dataset_id}/curves",
    "PATCH /v1/datasets/{dataset_id}/curves/{index}",
}
"""Names and positions of curves are beyond the document; tests/contract/test_labels.py has them."""


def files(delimiter):
    """CSV and TSV as text: often a table, sometimes nearly one."""
    number = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers().map(str)
    cell = st.one_of(number, number, number, st.sampled_from(["", "NaN", "x", "1_0", "inf", '"']))
    rows = st.lists(st.lists(cell, min_size=2, max_size=3).map(delimiter.join), max_size=4)
    names = st.sampled_from(["x,y1,y2", "x,y", "t,a", "y1,X", "x,x", "a", ""])
    head = names.map(lambda line: line.replace(",", delimiter))
    return st.builds(lambda head, rows: "\n".join([head, *rows]).encode(), head, rows)


schemathesis.openapi.format("binary", files(","))
DELIMITERS = {"text/csv": ",", "text/tab-separated-values": "\t"}


@schemathesis.hook("flatmap_case")
def with_a_file(context, case):
    """A case that sends a file gets one, for its schema knows no more than that it is text."""
    del context
    if case.media_type not in DELIMITERS:
        return st.just(case)

    def send(file):
        case.body = file.decode()
        return case

    return files(DELIMITERS[case.media_type]).map(send)


@pytest.fixture
def records(app, monkeypatch):
    """Ids of records, some of them in use; they and all later ones are the same in every run."""
    numbers = random.Random(0)  # noqa: S311 - ids, no secrets
    counted = SimpleNamespace(uuid4=lambda: uuid.UUID(int=numbers.getrandbits(128)))
    monkeypatch.setattr("api.store.base.uuid", counted)
    calls = over_wsgi(app)
    datasets = [calls.a_dataset()["id"] for _ in range(160)]
    points = calls.a_dataset(POINTS)["id"]
    fits = [calls.a_fit(datasets[0], datasets[1])["id"] for _ in range(40)]
    mappings = [calls.a_mapping(fits[0], points)["id"] for _ in range(6)]
    return {"dataset": [*datasets, points], "fit": fits, "mapping": mappings}


def configured(records, examples=EXAMPLES, left_out=()):
    """All checks and most phases, without chance, most ids and versions those of records."""
    words = records | {"etag": ['"1"', "*", '"2"', 'W/"1"', '"2", "1"']}
    known = {name: {"dictionary": name, "probability": 0.8} for name in words}
    roles = {"training": "dataset", "ideal": "dataset", "test": "dataset", "fit": "fit"}
    return schemathesis.Config.from_dict(
        {
            "seed": 1,
            "phases": {phase: {"enabled": False} for phase in left_out},
            "generation": {"max-examples": examples, "deterministic": True, "no-shrink": True},
            "continue-on-failure": True,
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ACCEPTED},
                # An If-Match that is no tag matches no version: 412.
                "negative_data_rejection": {"expected-statuses": REFUSED},
            },
            "dictionaries": {name: {"values": values} for name, values in words.items()},
            "parameters": {f"path.{noun}_id": known[noun] for noun in records}
            | {f"body.{role}_id": known[noun] for role, noun in roles.items()}
            | {"header.If-Match": known["etag"], "header.If-None-Match": known["etag"]},
        }
    )


def closing(app):
    """The application as a server runs it: schemathesis itself never closes a reply."""

    def run(environ, start_response):
        body = app(environ, start_response)
        try:
            return [b"".join(body)]
        finally:
            # A reply that is a list has nothing to close (PEP 3333).
            getattr(body, "close", lambda: None)()

    return run


def run(app, config):
    """Make the requests; statuses by operation, and the phases. Nothing may be at fault."""
    schema = schemathesis.openapi.from_wsgi("/openapi.json", closing(app), config=config)
    faults, statuses, phases = {}, defaultdict(Counter), set()
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), str(event.value)
        if isinstance(event, events.ScenarioFinished):
            phases.add(event.phase.name)
            collect(event.recorder, faults, statuses)
    assert not faults, "\n\n".join(faults.values())
    assert not any(status >= 500 for found in statuses.values() for status in found)
    return statuses, phases


@pytest.mark.slow
@pytest.mark.thorough
def test_no_request_that_the_document_suggests_finds_a_fault(app, records):
    statuses, phases = run(app, configured(records))
    assert phases == {"EXAMPLES", "COVERAGE", "FUZZING", "STATEFUL_TESTING"}
    assert sum(map(Counter.total, statuses.values())) > 1000
    succeeded = {label for label, found in statuses.items() if any(s < 300 for s in found)}
    assert set(statuses) - succeeded <= NEVER_2XX | OF_CURVES


@pytest.mark.slow
@pytest.mark.parametrize("app", ["sqlite"], indirect=True)
def test_no_example_and_no_drawn_request_finds_a_fault(app, records):
    config = configured(records, examples=1, left_out=["coverage", "stateful"])
    statuses, phases = run(app, config)
    assert phases == {"EXAMPLES", "FUZZING"}
    assert len(statuses) > 30


def collect(recorder, faults, statuses):
    """Count the statuses of a scenario, and keep the first fault of a kind at an operation."""
    for identifier, node in recorder.cases.items():
        interaction = recorder.interactions.get(identifier)
        if interaction and interaction.response:
            statuses[node.value.operation.label][interaction.response.status_code] += 1
        for check in recorder.checks.get(identifier, ()):
            if check.failure_info:
                label, failure = node.value.operation.label, check.failure_info
                body = interaction.response.content[:500]
                shown = f"{label} {check.name}\n{failure.failure}\n{failure.code_sample}\n{body}"
                faults.setdefault((label, check.name), shown)
