"""The process that reads the sensors."""
