"""The replaceable pieces. One part = one file = one name; each file stands alone."""
