"""Pictures of a model: retrieval examples, tags over time, a map of the embeddings, and co-attention."""
