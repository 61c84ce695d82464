"""Start a run where it belongs: here, on several machines, or as a job of SLURM."""
