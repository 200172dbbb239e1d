"""Studies of trained models, `python -m experiments.NAME`, their figures, and the tables of the pages."""
