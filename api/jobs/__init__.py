"""Fits and mappings as jobs, from the plan to the answer."""
