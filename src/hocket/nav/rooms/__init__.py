"""The world in the package: textured rooms with doors and landmarks, seen from inside.

Everything is a pure function of a seed. Walls lie along the axes, which is what makes distances
exact and pictures cheap. Knows numpy only.
"""
