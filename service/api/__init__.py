"""What requests and answers carry: the models that OpenAPI is made from."""
