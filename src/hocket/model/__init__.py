"""Parts put together as one transformers model."""
