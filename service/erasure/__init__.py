"""Erasure of crops, on request or by age, and of everything that jobs noted about them."""
