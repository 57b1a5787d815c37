"""The API's requests and answers as models, for OpenAPI and for the client."""
