"""SCL (Pang et al. 2022): selective contrastive learning with three banks of features."""
