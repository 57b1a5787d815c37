"""HTTP: parse the request, call one method, shape the answer."""
