"""One objective per file: see `mulap_hf.training.objective.Objective`."""
