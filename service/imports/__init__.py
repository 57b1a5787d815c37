"""Many crops at once: folders, archives and manifests into a gallery, as a job."""
