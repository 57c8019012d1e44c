"""What can be optimized, how to draw one, on which data."""
