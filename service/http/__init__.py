"""HTTP: the app, its server, the middleware and the routes."""
