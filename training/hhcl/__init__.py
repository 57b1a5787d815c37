"""HHCL (Hu, Zhu, He 2021): cluster, remember, contrast."""
