"""From pictures to identity matches: query, rank, re-rank, group by identity."""
