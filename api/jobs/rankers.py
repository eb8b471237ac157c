"""Rankers, which compare the training curves of a fit with its library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.orm import Session

from api.jobs.common import TakesLonger, Watch
from api.jobs.estimate import estimate_ranking, estimate_rate
from api.jobs.inputs import FitInputs
from api.store.selections import open_library
from services.fitting.cache import Cache
from services.fitting.fit import rank_library
from services.fitting.prepare import PreparedFit
from services.scoring.ranking import Ranking

NUMPY = "numpy"
"""Name of NumPy in the record of a fit that it computed."""


class Ranker(Protocol):
    """Interface of rankers."""

    def rank(
        self, session: Session, inputs: FitInputs, prepared: PreparedFit, watch: Watch, /
    ) -> tuple[Ranking, str]:
        """Rank the library; also say what computed the ranking."""


@dataclass(frozen=True, slots=True)
class LocalRanker:
    """Ranker in this process."""

    cache: Cache | None = None
    """Keeps prepared parts of libraries for later fits."""

    def rank(
        self, session: Session, inputs: FitInputs, prepared: PreparedFit, watch: Watch
    ) -> tuple[Ranking, str]:
        """Rank all of the library."""
        everything = range(inputs.job.n_ideal)
        return self.rank_part(session, inputs, prepared, watch, everything), NUMPY

    def rank_part(
        self,
        session: Session,
        inputs: FitInputs,
        prepared: PreparedFit,
        watch: Watch,
        part: range,
    ) -> Ranking:
        """Rank the curves of the library in some of its places."""
        fit = inputs.job
        library = open_library(session, inputs.ideal, part.start, part.stop)
        cells = fit.n_training * len(library.grid)
        most = max(1, int(PIECE_SECONDS * estimate_rate(fit) / cells))
        parts = library.in_parts(most)

        def ask(n_training: int, *, is_cached: bool) -> None:
            seconds = estimate_ranking(inputs, n_training, is_cached=is_cached)
            if not watch.may_take(seconds):
                raise TakesLonger(seconds)

        return rank_library(
            prepared,
            parts,
            self.cache,
            most,
            on_progress=lambda done: watch.progress(done, fit.n_ideal),
            on_reading=ask,
        )


UNCACHED = LocalRanker()
"""Ranker that keeps nothing for later fits."""


PIECE_SECONDS = 0.5
"""Target time of a piece, in seconds; a fit can be stopped between two pieces."""
