"""Spoken dialogues: sound in, answers out, and either may begin while the other goes on.

The way of VITA: somebody who talks is heard at any time; the model's state token says whether what
was heard asks for an answer; a question that comes during an answer takes its place.
"""
