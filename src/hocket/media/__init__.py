"""Pictures, sounds and videos: from a reference to numpy arrays, and nothing else."""
