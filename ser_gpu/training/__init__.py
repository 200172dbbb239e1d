"""Training: settings, the loop, the optimizers."""
