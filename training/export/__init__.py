"""From a checkpoint to a model folder, and back from ONNX to a network that learns."""
