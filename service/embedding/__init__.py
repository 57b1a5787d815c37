"""From uploaded pictures to embeddings: decode, batch, run the network."""
