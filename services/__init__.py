"""The numbers: curves in, choices out. Knows neither HTTP nor SQL."""

import os

# Before NumPy is loaded anywhere: BLAS on one thread. Its own threads slow the thin products of
# a fit down, and N web processes would fight for N times the cores.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
