"""Records on disk, the locks that guard them, and the epoch that voids them."""
