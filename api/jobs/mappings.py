"""Mappings as jobs, and evaluations: mappings that are not stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from api.jobs.common import (
    Answer,
    Progress,
    find_named,
    list_fields,
    make_queued_columns,
    refuse_id,
    report_nothing,
)
from api.jobs.functions import ChosenFunctions, read_functions
from api.jobs.inputs import MappingInputs
from api.jobs.tools import Tools
from api.store.base import NotFound
from api.store.datasets import read_curve_names, read_datasets
from api.store.fits import Fit, FitMatch
from api.store.jobs import require_succeeded
from api.store.mappings import Mapping, add_items
from api.store.selections import Selection, read_table, read_x
from services import grids
from services.mapping.assign import Sizes, assign
from services.mapping.few_points import assign_few_points
from services.mapping.functions import Functions
from services.mapping.items import REASONS, Items, Row, pack_items
from services.mapping.options import MapOptions, check_options
from services.mapping.tally import Tally
from services.tables import FloatArray, Table

FEW_CELLS = 4000
"""Largest evaluation (points × functions) whose reply is made at once."""

PLAIN_CELLS = 500
"""Largest evaluation that is done in plain Python; from about here on arrays are faster."""


EVALUATED_CELLS = 1 << 14
"""Points × functions of one block of an evaluation."""


def map_options(request: dict[str, Any], fit: Fit, grid: FloatArray) -> MapOptions:
    """Make the options of a mapping; those not asked for are the fit's.

    `grid` is the library's, in any order.
    """
    alignment = request["alignment"] or fit.alignment
    x_tolerance = request["x_tolerance"]
    if x_tolerance is None and alignment == fit.alignment:
        x_tolerance = fit.x_tolerance
    if x_tolerance is None and alignment == "exact":
        x_tolerance = grids.default_tolerance(grid)
    options = MapOptions(
        policy=request["policy"],
        tolerance_factor=request["tolerance_factor"],
        alignment=alignment,  # type: ignore[arg-type] # the schema allows the two words only
        x_tolerance=x_tolerance,
    )
    check_options(options)
    return options


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of a mapping, as its record shows them; zeros before it has ended."""

    n_points: int
    mapped_points: int = 0
    unmapped_points: int = 0
    n_assignments: int = 0
    unmapped_reasons: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS[1:], 0))
    functions: list[dict[str, Any]] = field(default_factory=list)


def assign_points(  # noqa: PLR0913, PLR0917 - what is mapped, how, and who is told
    test: Table,
    functions: ChosenFunctions,
    options: MapOptions,
    keep: Callable[[Items], object],
    progress: Progress = report_nothing,
    block_rows: int | None = None,
) -> Outcome:
    """Map the points of a table and give each block of items to `keep`."""
    limited = functions.with_limits(options.tolerance_factor)
    tally = Tally(len(functions.matches))
    for items in assign(test, functions.grid, limited, options, Sizes(block_rows)):
        keep(items)
        tally.add(items)
        progress((int(items["point"][-1]) + 1) * len(test.names), test.y.size)
    return _outcome(test.y.size, functions.matches, limited, tally)


def is_few(test: Table, functions: ChosenFunctions, options: MapOptions) -> bool:
    """Tell whether `evaluate_few` is the faster way to map a table."""
    cells = test.y.size * len(functions.matches)
    return cells <= FEW_CELLS and options.alignment in functions.functions.tables


def evaluate_few(
    test: Table, functions: ChosenFunctions, options: MapOptions
) -> tuple[Outcome, list[Row]]:
    """Map a few points; return figures and items."""
    if test.y.size * len(functions.matches) > PLAIN_CELLS:
        found: list[Row] = []
        outcome = evaluate_many(
            test, functions, options, lambda items: found.extend(items.tolist())
        )
        return outcome, found
    limited = functions.with_limits(options.tolerance_factor)
    x, y = test.x.tolist(), test.y[0].tolist()
    rows = assign_few_points(x, y, functions.grid, limited, options)
    tally = Tally(len(functions.matches))
    tally.add_rows(rows)
    return _outcome(test.y.size, functions.matches, limited, tally), rows


def evaluate_many(
    test: Table, functions: ChosenFunctions, options: MapOptions, keep: Callable[[Items], object]
) -> Outcome:
    """Map points in blocks that take little memory, and give the items to `keep`."""
    rows = max(1, EVALUATED_CELLS // len(functions.matches))
    return assign_points(test, functions, options, keep, block_rows=rows)


def find_items(test: Table, functions: ChosenFunctions, options: MapOptions) -> Iterator[Items]:
    """Map points in blocks that take little memory, and yield the items."""
    rows = max(1, EVALUATED_CELLS // len(functions.matches))
    limited = functions.with_limits(options.tolerance_factor)
    return assign(test, functions.grid, limited, options, Sizes(rows))


def name_functions(functions: ChosenFunctions, options: MapOptions) -> list[dict[str, Any]]:
    """Return names and limit of each function, as the points of a mapping show them."""
    limited = functions.with_limits(options.tolerance_factor)
    return _named_functions(functions.matches, limited)


def _named_functions(matches: Sequence[FitMatch], limited: Functions) -> list[dict[str, Any]]:
    return [
        {
            "training": match.training,
            "ideal": match.ideal,
            "limit": limit if math.isfinite(limit) else None,
        }
        for match, limit in zip(matches, limited.limit.tolist(), strict=True)
    ]


def _outcome(
    n_points: int, matches: Sequence[FitMatch], functions: Functions, tally: Tally
) -> Outcome:
    reasons = tally.unmapped_reasons
    unmapped = sum(reasons.values())
    return Outcome(
        n_points,
        n_points - unmapped,
        unmapped,
        tally.n_assignments,
        reasons,
        [
            named
            | {
                "n_assignments": tally.counts[position],
                "deviation_mean": tally.deviation_mean(position),
                "deviation_max": tally.deviation_max(position),
            }
            for position, named in enumerate(_named_functions(matches, functions))
        ],
    )


def plan_mapping(session: Session, request: dict[str, Any]) -> MappingInputs:
    """Make the record of a mapping from the body of `POST /v1/mappings`; nothing is stored."""
    fit = find_named(session, Fit, request, "fit_id")
    found = read_datasets(session, request["test_id"], fit.ideal_id)
    if request["test_id"] not in found:
        raise refuse_id(NotFound("dataset", request["test_id"]), "test_id")
    require_succeeded(fit, "mapped with")
    test, x = found[request["test_id"]]
    names = list(read_curve_names(session, test, range(test.n_curves)).values())
    ideal, grid_if_short = found[fit.ideal_id]
    grid = read_x(session, ideal, grid_if_short)
    n_points = test.n_points * test.n_curves
    mapping = Mapping(
        **make_queued_columns(session, n_points),
        name=request.get("name") or f"{test.name} / {fit.name}"[:200],
        fit_id=fit.id,
        test_id=test.id,
        test_sha256=test.sha256,
        columns=names,
        **list_fields(map_options(request, fit, grid)),
        **list_fields(Outcome(n_points)),
    )
    curves = Selection(test, x, test.n_curves, names=names)
    return MappingInputs(mapping, fit, ideal, grid, curves)


def check_mapping(_session: Session, _inputs: MappingInputs) -> None:
    """Refuse nothing: `plan_mapping` has checked everything."""


def compute_mapping(session: Session, inputs: MappingInputs, tools: Tools) -> Answer:
    """Map the test points."""
    mapping, spool = inputs.job, tools.spool
    functions = read_functions(session, inputs.fit, inputs.ideal, inputs.grid)
    table = read_table(session, inputs.test)
    outcome = assign_points(
        table,
        functions,
        mapping.options,
        lambda items: spool.write(pack_items(items, len(table.names)).tobytes()),
        tools.watch.progress,
    )

    def add_rows(session: Session) -> None:
        spool.seek(0)
        add_items(session, mapping, spool)

    return Answer(list_fields(outcome), add_rows)
