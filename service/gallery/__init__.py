"""Galleries: they store crops with their embeddings, and search them."""
