"""Camera standardisation: remove from embeddings what a camera does to every crop."""
