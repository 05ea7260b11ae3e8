"""An index of the embeddings of a catalog: built, kept up to date, searched, and served in the browser."""
