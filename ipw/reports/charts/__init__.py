"""Charts as SVG: pure functions from numbers to one picture."""
