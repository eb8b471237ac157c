"""HTTP, SQL and processes around the services."""

import services  # noqa: F401 - first of all, because it sets BLAS to one thread
