"""What a run will need before it starts: memory by part, time, and the largest that fits."""
