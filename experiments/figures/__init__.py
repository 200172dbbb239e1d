"""Figures of the studies and of the notebook: each function returns a matplotlib figure and writes nothing."""

from experiments.figures.corpus import acoustic_profile, counts, distances, distributions
from experiments.figures.protocols import emotions_by_protocol, errors_by_side, protocols
from experiments.figures.sound import band_difference, from_wave_to_mel, pipeline, spectra, spectrograms, trimming
from experiments.figures.studies import (
    ablation,
    occlusion,
    overfitting,
    pitch_bias,
    pitch_counterfactual,
    robustness,
)

__all__ = [
    "ablation",
    "acoustic_profile",
    "band_difference",
    "counts",
    "distances",
    "distributions",
    "emotions_by_protocol",
    "errors_by_side",
    "from_wave_to_mel",
    "occlusion",
    "overfitting",
    "pipeline",
    "pitch_bias",
    "pitch_counterfactual",
    "protocols",
    "robustness",
    "spectra",
    "spectrograms",
    "trimming",
]
