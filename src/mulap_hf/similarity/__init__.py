"""Models of music similarity by factor: their data, training, evaluation and report."""
