"""The model contract: what a model folder holds and which rules its network keeps."""
