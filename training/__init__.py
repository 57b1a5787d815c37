"""Train a person embedding on unlabelled crops, and export it to ONNX."""
