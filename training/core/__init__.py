"""What both methods use: options, backbones, pixels, augmentation, optimisers, checkpoints."""
