"""The decision: plain float64 scores, and the order that they give."""
