"""HHCL (Hu, Zhu, He 2021): cluster the crops, then contrast them with a memory of the clusters."""
