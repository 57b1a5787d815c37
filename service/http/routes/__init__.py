"""Routes: parse the request, call one method, build the answer."""
