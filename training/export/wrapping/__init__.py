"""Wrap a network that was trained elsewhere, so that it keeps the model contract."""
