"""Checks that take longer than a test suite may: `python -m tests.long`; the suite runs a short version of each."""
