"""What a run needs to go on after it was cut off."""
