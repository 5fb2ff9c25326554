"""Language models: engines, data sets, scoring, load."""
