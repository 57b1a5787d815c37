"""HTTP: the app, its server, its middleware and its routes."""
