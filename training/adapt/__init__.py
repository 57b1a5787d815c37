"""Adapting a model to new cameras, judged without labels."""
