"""Data sets: samples with a path, an identity and a camera, and how they are read."""
