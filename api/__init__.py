"""HTTP, SQL and processes around the services."""
