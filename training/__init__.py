"""Training: learns a person embedding from unlabelled crops and exports it to ONNX."""
