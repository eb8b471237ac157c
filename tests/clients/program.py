"""A user's program for the client that openapi-python-client generates, strictly typed.

The test generates `idealfit_client`, type-checks this file against it and runs it.
"""

# ruff: noqa: T201 - a program that says how far it came
from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

from idealfit_client import Client
from idealfit_client.api.datasets import (
    append_to_dataset,
    change_dataset,
    create_dataset,
    list_datasets,
    read_dataset,
    read_values,
)
from idealfit_client.api.fits import (
    cancel_fit,
    create_fit,
    delete_fit,
    evaluate_fit,
    list_fits,
    list_matches,
    read_fit,
)
from idealfit_client.api.mappings import create_mapping, export_mapping, list_points
from idealfit_client.api.plots import plot_mapping
from idealfit_client.api.problems import explain_problem
from idealfit_client.api.service import read_limits
from idealfit_client.models import (
    Criterion,
    CurvesRequest,
    CurvesRequestColumns,
    DatasetForm,
    DatasetPatch,
    DatasetReply,
    DatasetRequest,
    DatasetRequestColumns,
    EvaluateRequest,
    ExplanationReply,
    FitReply,
    FitRequest,
    JobState,
    LimitsReply,
    ListedMatchesReply,
    MappingReply,
    MappingRequest,
    OutcomeReply,
    PointsReply,
    PointStatus,
    ProblemReply,
    UnmappedReason,
    ValuesReply,
)
from idealfit_client.types import File

COLUMNS: dict[str, list[float | None]] = {"x": [0.0, 1.0], "y1": [1.0, None]}


def upload(client: Client, files: Path, parquet: bytes) -> dict[str, str]:
    """Upload in every way with nothing but what is required; ids of the example data."""
    ids = {}
    for name in ("training", "ideal", "test"):
        file = File(io.BytesIO((files / f"{name}.csv").read_bytes()), f"{name}.csv", "text/csv")
        form = create_dataset.sync(client=client, body=DatasetForm(file=[file]))
        assert isinstance(form, DatasetReply), form
        assert (form.name, form.description, form.source.format_) == (name, "", "csv")
        ids[name] = form.id
    columns = DatasetRequestColumns.from_dict(COLUMNS)
    body = create_dataset.sync(client=client, body=DatasetRequest(name="json", columns=columns))
    assert isinstance(body, DatasetReply), body
    more = CurvesRequestColumns.from_dict({"x": [0.0, 1.0], "y2": [2.0, 3.0]})
    appended = append_to_dataset.sync(
        body.id, client=client, body=CurvesRequest(columns=more), if_match="*"
    )
    assert isinstance(appended, DatasetReply), appended
    assert (appended.n_curves, appended.version) == (2, 2)
    for data, kind in ((b"x,y\n1,2\n", "csv"), (parquet, "parquet")):
        plain = create_dataset.sync(client=client, body=File(io.BytesIO(data)), name=kind)
        assert isinstance(plain, DatasetReply), plain
        assert (plain.name, plain.source.format_) == (kind, kind)
    values = read_values.sync(body.id, client=client)
    assert isinstance(values, ValuesReply), values
    assert values.columns["y1"] == [1.0, None]
    return ids


def fit_and_poll(client: Client, ids: dict[str, str]) -> FitReply:
    """Fit at once, then as a job that is polled until it has ended."""
    request = FitRequest(training_id=ids["training"], ideal_id=ids["ideal"])
    at_once = create_fit.sync(client=client, body=request)
    assert isinstance(at_once, FitReply), at_once
    assert at_once.state is JobState.SUCCEEDED
    assert at_once.error is None
    # A record's words can be posted again.
    again = FitRequest(
        training_id=at_once.training_id,
        ideal_id=at_once.ideal_id,
        criterion=at_once.criterion,
        transform=at_once.transform,
        alignment=at_once.alignment,
        outside=at_once.outside,
        x_tolerance=at_once.x_tolerance,
        top_k=at_once.top_k,
    )
    queued = create_fit.sync(client=client, body=again, prefer="respond-async")
    assert isinstance(queued, FitReply), queued
    fit = queued
    while fit.state in {JobState.QUEUED, JobState.RUNNING}:
        time.sleep(0.1)
        read = read_fit.sync(fit.id, client=client)
        assert isinstance(read, FitReply), read
        fit = read
    assert fit.state is JobState.SUCCEEDED, fit
    assert fit.criterion is Criterion.SSE
    return fit


def read_answers(client: Client, url: str, fit: FitReply, test_id: str) -> None:
    """Matches, a mapping with its points, an evaluation, a plot and an export."""
    matches = list_matches.sync(fit.id, client=client)
    assert isinstance(matches, ListedMatchesReply), matches
    assert [match.rank for match in matches.items] == [1] * fit.n_training
    request = MappingRequest(fit_id=fit.id, test_id=test_id)
    mapping = create_mapping.sync(client=client, body=request)
    assert isinstance(mapping, MappingReply), mapping
    assert mapping.mapped_points + mapping.unmapped_points == mapping.n_points
    points = list_points.sync(mapping.id, client=client, status=PointStatus.UNMAPPED)
    assert isinstance(points, PointsReply), points
    assert all(isinstance(point.reason, UnmappedReason) for point in points.items)
    asked = EvaluateRequest(x=[0.0, None], y=[1.0, 2.0])
    outcome = evaluate_fit.sync(fit.id, client=client, body=asked)
    assert isinstance(outcome, OutcomeReply), outcome
    assert outcome.n_points == 2
    page = plot_mapping.sync_detailed(mapping.id, client=client)
    assert page.content.startswith(b"<!DOCTYPE html>")
    picky = Client(base_url=url, headers={"Accept": "application/json"}, timeout=None)
    plot = plot_mapping.sync_detailed(mapping.id, client=picky)
    assert json.loads(plot.content)["root_id"]
    file = export_mapping.sync_detailed(mapping.id, client=client)
    assert file.content.startswith(b"SQLite format 3")


def meet_problems(client: Client, fit: FitReply) -> None:
    """Refusals are values with a type, and a stale version is one of them."""
    missing = FitRequest(training_id="unheard-of", ideal_id=fit.ideal_id)
    refused = create_fit.sync(client=client, body=missing)
    assert isinstance(refused, ProblemReply), refused
    assert (refused.status, refused.errors[0].pointer) == (422, "/training_id")
    stale = change_dataset.sync_detailed(
        fit.training_id, client=client, body=DatasetPatch(name="new"), if_match='"99"'
    )
    assert stale.status_code == 412
    assert isinstance(stale.parsed, ProblemReply)
    current = read_dataset.sync_detailed(fit.training_id, client=client).headers["ETag"]
    changed = change_dataset.sync_detailed(
        fit.training_id, client=client, body=DatasetPatch(name="new"), if_match=current
    )
    assert isinstance(changed.parsed, DatasetReply), changed
    same = read_dataset.sync_detailed(
        fit.training_id, client=client, if_none_match=changed.headers["ETag"]
    )
    assert (same.status_code, same.parsed) == (304, None)
    ended = cancel_fit.sync(fit.id, client=client)
    assert isinstance(ended, ProblemReply)
    assert ended.status == 409
    used = delete_fit.sync(fit.id, client=client)
    assert isinstance(used, ProblemReply)
    bad = create_dataset.sync(client=client, body=File(io.BytesIO(b"x,y\n1,a\n")))
    assert isinstance(bad, ProblemReply), bad
    explained = explain_problem.sync(bad.type_.rpartition("/")[2], client=client)
    assert isinstance(explained, ExplanationReply), explained
    assert explained.title == bad.title


def main(url: str, files: Path, parquet: Path) -> None:
    """Do all of it on a running service."""
    client = Client(base_url=url, timeout=None)
    limits = read_limits.sync(client=client)
    assert isinstance(limits, LimitsReply), limits
    ids = upload(client, files, parquet.read_bytes())
    fit = fit_and_poll(client, ids)
    read_answers(client, url, fit, ids["test"])
    meet_problems(client, fit)
    assert not isinstance(list_datasets.sync(client=client, limit=1), ProblemReply)
    assert not isinstance(list_fits.sync(client=client, state=JobState.FAILED), ProblemReply)
    print("all of it works")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
