"""What the commands share, and the console script that runs them."""
