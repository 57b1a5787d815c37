"""Cluster memories: what HHCL contrasts a batch with."""
