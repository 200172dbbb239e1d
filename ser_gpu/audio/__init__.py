"""From a recording to a waveform: whatever holds sound becomes mono float32 samples at the model's rate."""
