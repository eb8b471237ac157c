"""HTTP as the service speaks it, where it differs from Flask and flask-smorest."""
