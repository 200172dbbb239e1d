"""The notebook, its source, and the command that executes it."""
