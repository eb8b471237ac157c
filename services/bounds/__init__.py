"""The proposal: lower bounds that leave no possible winner out (docs/bounds.md)."""
