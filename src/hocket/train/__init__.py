"""Training in stages: exact, resumable, the same on one process or many."""
