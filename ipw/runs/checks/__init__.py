"""Whether what is on disk is what the run left."""
