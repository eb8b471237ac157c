"""Test points, and the chosen functions that admit them."""
