"""The parts of training/benchmark.py: each compares variants of one computation in a single process."""
