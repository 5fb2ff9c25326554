"""Which experts to keep in fast memory, and how many."""
