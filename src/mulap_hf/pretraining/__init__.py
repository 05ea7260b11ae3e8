"""Training: the loop, objectives, checkpoints, logs and reports that the training scripts use."""
