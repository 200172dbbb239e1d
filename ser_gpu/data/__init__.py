"""Who speaks, and what: the RAVDESS clips, the protocols that split them, and their waveforms."""
