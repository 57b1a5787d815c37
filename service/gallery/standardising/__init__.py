"""Camera standardisation: removes each camera's own bias from embeddings."""
