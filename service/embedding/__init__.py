"""Turn image files into embeddings: decode, batch, run the network."""
