"""Search a gallery: decode, embed, query, re-rank, group by identity."""
