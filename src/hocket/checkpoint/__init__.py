"""Checkpoint directories: written whole or not at all, opened strictly, checked by their hashes."""
