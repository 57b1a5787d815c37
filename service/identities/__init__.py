"""Who is who in a gallery: labels by hand, groups by clustering, shots of one person."""
