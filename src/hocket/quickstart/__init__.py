"""The newcomer's first run: data, training, evaluation and report in one command."""
