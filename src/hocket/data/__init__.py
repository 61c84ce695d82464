"""Samples in a known order, packed into rows, decoded, batched, and resumable to the sample."""
