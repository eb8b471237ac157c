"""Records in SQL: models and queries, one file per noun."""
