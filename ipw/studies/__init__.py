"""Studies of many cells, and the files that describe them."""
