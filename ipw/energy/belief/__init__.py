"""Which readings of a sensor can be true."""
