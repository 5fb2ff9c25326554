"""Agents: requests of programs that speak to a model, as turns, conversations, tools and tasks, and their joules."""
