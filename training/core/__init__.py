"""The parts both methods learn with: network, engine, pixels, transforms, options."""
