"""What ``hocket data show`` draws: a sample as tokens and spans, in a terminal or as a page."""
