"""Conversations become token ids, labels and encoder inputs."""
