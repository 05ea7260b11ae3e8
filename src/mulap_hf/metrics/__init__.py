"""Measures of tagging, classification and regression: a numpy core in `scores`, and `evaluate` modules of it."""
