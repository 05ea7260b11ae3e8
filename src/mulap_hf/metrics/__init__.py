"""Measures of tagging, classification, regression and retrieval in numpy; `evaluate` modules of the first three."""
