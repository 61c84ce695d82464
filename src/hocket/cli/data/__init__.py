"""Look at, check, change and move the data a model learns from."""
