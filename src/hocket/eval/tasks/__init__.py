"""Benchmarks: one file per task, registered under the file's name with `hocket.eval.task.tasks`."""
