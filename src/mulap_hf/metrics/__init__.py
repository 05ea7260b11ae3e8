"""Metrics of tagging, classification, regression and retrieval.

* `scores` and `retrieval` compute metrics and bootstrap intervals on numpy arrays.
* `tagging`, `classification` and `regression` are the same as modules of the `evaluate` library.
"""
