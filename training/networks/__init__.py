"""The network of either method: built from a config, restored, and run by PyTorch or ONNX."""
