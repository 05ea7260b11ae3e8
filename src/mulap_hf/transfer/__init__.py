"""Transfer: frozen features or fine-tuning on labeled tasks, and comparisons of what was pre-trained how."""
