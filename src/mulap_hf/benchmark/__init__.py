"""What `training/benchmark.py` measures: variants of one computation, side by side in one process."""
