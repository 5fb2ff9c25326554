"""A run on disk: its folder, its files and their formats, said once."""
