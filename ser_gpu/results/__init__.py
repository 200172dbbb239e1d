"""What came of it: metrics, figures, and what the terminal shows."""
