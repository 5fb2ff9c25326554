"""Joules of queries: phases, windows and the tables that they stand in."""
