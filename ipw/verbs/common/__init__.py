"""What verbs share: options, the terminal, and how a run is concluded."""
