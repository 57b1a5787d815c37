"""HTTP/1.1 connections: which ones are closed early, and which request heads are rejected."""
