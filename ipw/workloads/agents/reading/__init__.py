"""What requests and answers of the known APIs say: messages, calls of tools, tokens."""
