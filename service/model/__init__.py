"""The model contract: the files of a model folder, and the rules for its network."""
