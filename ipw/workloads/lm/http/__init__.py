"""How a server is asked, and what it answers."""
