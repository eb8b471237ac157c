"""Clients that are generated from the committed document and used as users would."""
