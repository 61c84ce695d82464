"""The endpoints, one file each; every file has a ``router``."""
