"""Benchmark on recordings made by people: layout -> excerpts -> features -> probes and neighbors -> report."""
