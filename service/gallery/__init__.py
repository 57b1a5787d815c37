"""Where embeddings of known crops live and are searched."""
