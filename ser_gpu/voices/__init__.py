"""Voices: what a model learns of one speaker from their own recordings."""
