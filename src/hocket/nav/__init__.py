"""Navigation: worlds to walk in, what a model's answers do there, and how a walk is scored."""
