"""How the sensors of a machine behave, measured."""
