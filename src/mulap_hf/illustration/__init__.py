"""Pictures of what a model has learnt: retrieval, tags over time, a map of clips, co-attention."""
