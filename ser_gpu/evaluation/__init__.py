"""Evaluation: what a model answers on clips, how right it is, and the tables and figures of that."""
