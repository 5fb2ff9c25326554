"""A model with a part of its experts in fast memory."""
