"""A reverse proxy in front of a model's server, with the sensors on."""
