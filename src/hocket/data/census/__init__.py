"""A data set in numbers: what each row costs and shows, taken from text and headers alone.

`measure.py` looks at one row, `count.py` at all of them in several processes, `summary.py` makes
figures of the tables, and `forecast.py` says how they would be packed. Nothing is decoded.
"""
