"""Pictures of what a model has learned: retrieval, tags over time, a map of clips, co-attention."""
