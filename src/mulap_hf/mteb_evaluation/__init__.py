"""MTEB, the Massive Text (and audio) Embedding Benchmark: MuLaP as a model, prepared folders as tasks, scores."""
