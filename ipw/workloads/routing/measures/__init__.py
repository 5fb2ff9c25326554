"""What caches of experts hit, by policy and for every size at once."""
