"""Transfer: frozen features or fine-tuning on labelled tasks, and comparisons of what was pre-trained how."""
