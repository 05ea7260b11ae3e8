"""One objective per file: see `mulap_hf.pretraining.objective.Objective`."""
