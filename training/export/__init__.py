"""Export a checkpoint to a model folder, and read an exported network back to train on."""
