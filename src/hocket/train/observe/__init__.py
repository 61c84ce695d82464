"""What looks at a run and never changes it: measurements, writers, the page, previews, debugging.

`Observer` is the one that a run knows; each other file is one way to look.
"""
