"""The public Python interface: measure code in people's own programs, and open what was measured."""
