"""Steps that prepare curves before they are compared (docs/method.md, "Prepare")."""
