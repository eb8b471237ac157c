"""The same service as FastAPI with pydantic: sync and async handlers."""

# No `from __future__ import annotations`: FastAPI reads the types of the handlers.
import math
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from sqlalchemy.orm import Session

from benchmarks.rivals import common

app = FastAPI()
Numbers = Annotated[list[FiniteFloat | None], Field(min_length=1)]
Policy = Literal["all", "nearest"]
NO_FIT = "no such fit"


class Points(BaseModel):
    """Body of an evaluation."""

    model_config = ConfigDict(extra="forbid")
    x: Numbers
    y: Numbers
    policy: Policy = "all"
    tolerance_factor: float = Field(math.sqrt(2), ge=0)

    @model_validator(mode="after")
    def check_lengths(self) -> "Points":
        """Refuse columns of different lengths."""
        if len(self.x) != len(self.y):
            raise ValueError("x and y differ in length")
        return self


class Item(BaseModel):
    """An assignment, or a point without one."""

    point: int
    column: str
    x: float | None
    y: float | None
    training: str | None
    ideal: str | None
    deviation: float | None
    limit: float | None
    reason: str | None


class Function(BaseModel):
    """A function and its assignments."""

    training: str
    ideal: str
    limit: float
    n_assignments: int
    deviation_mean: float | None
    deviation_max: float | None


class Items(BaseModel):
    """All items."""

    items: list[Item]
    next: str | None = None


class Answer(BaseModel):
    """Reply to an evaluation."""

    policy: Policy
    tolerance_factor: float
    alignment: str
    x_tolerance: float
    n_points: int
    mapped_points: int
    unmapped_points: int
    n_assignments: int
    unmapped_reasons: dict[str, int]
    functions: list[Function]
    points: Items


class Dataset(BaseModel):
    """Body of a dataset."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1, max_length=200)]
    columns: Annotated[dict[str, list[FiniteFloat | None]], Field(min_length=2)]


class DatasetReply(BaseModel):
    """Record of a dataset."""

    id: str
    name: str
    n_points: int
    n_curves: int
    x_min: float
    x_max: float


def open_session() -> Any:
    """Yield a session for one request."""
    with common.open_session() as session:
        yield session


@app.get("/health/ready")
def ready() -> str:
    """Answer that the server is up."""
    return "ok"


@app.post("/evaluate/{fit_id}")
def evaluate(fit_id: str, points: Points) -> Answer:
    """Evaluate points in a thread of the pool."""
    if fit_id != "fit":
        raise HTTPException(404, NO_FIT)
    return common.evaluate(points.x, points.y, points.policy, points.tolerance_factor)  # type: ignore[return-value]


@app.post("/evaluate-async/{fit_id}")
async def evaluate_async(fit_id: str, points: Points) -> Answer:
    """Evaluate points in the loop."""
    return evaluate(fit_id, points)


@app.post("/datasets", status_code=201)
def create_dataset(
    dataset: Dataset, session: Annotated[Session, Depends(open_session)]
) -> DatasetReply:
    """Store a dataset."""
    try:
        return common.store(session, dataset.name, dataset.columns)  # type: ignore[return-value]
    except common.BadColumnsError:
        raise HTTPException(422) from None
