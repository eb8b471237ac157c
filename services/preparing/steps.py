"""All steps."""

from __future__ import annotations

from services.preparing.absolute import Absolute
from services.preparing.asls import Asls
from services.preparing.baseline import Baseline
from services.preparing.convert import Convert
from services.preparing.derivative import Derivative
from services.preparing.normalize import Normalize
from services.preparing.regions import Regions
from services.preparing.resample import Resample
from services.preparing.smooth import Smooth

Step = Regions | Resample | Smooth | Derivative | Baseline | Asls | Absolute | Normalize | Convert
"""One step of `prepare`. Each has a `name`, the word of clients; `check`, which refuses parameters;
and `plan`, which refuses grids. mypy names what another one lacks."""
