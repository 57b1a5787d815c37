"""Connections and heads of HTTP/1.1: what ends early, and what is refused."""
