"""Energy curves and attribution: pure functions on arrays, no I/O."""
