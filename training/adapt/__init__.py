"""Adapt a model to new cameras with unlabelled crops, and judge the result without labels."""
