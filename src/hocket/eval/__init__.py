"""Evaluation: questions from any data set, answered by the engine, scored with intervals."""
