"""What pages are made of: drawings of numbers, and media inside the file. Needs no script."""
