"""What is made from run directories alone."""
