"""Conversations, the readers that produce them and the templates that write them as text."""
