"""HTTP as the service speaks it: what the libraries do otherwise."""
