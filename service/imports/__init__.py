"""Import folders, archives and manifests into a gallery, as a job."""
