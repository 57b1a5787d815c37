"""Data sets: list, inspect and decode crops with their identity and camera."""
