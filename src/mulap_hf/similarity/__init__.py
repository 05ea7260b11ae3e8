"""Music similarity by factor: its data, the training of the heads, evaluation by triplets, and the report."""
