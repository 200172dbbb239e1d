"""Scoring on Ray Data: which recordings, the stages that answer them, and the parts of the result."""
