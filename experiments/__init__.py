"""Studies of trained models: `python -m experiments.NAME`. Each writes JSON and a figure to experiments/results/."""
