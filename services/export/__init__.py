"""Tables become files."""
