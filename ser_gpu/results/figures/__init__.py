"""Figures, one function each. Every function returns a matplotlib figure and writes nothing."""

from ser_gpu.results.figures.corpus import acoustic_profile, counts, distances, distributions
from ser_gpu.results.figures.learning import ablation, evidence, training_curves
from ser_gpu.results.figures.protocols import emotions_by_protocol, errors_by_side, protocols
from ser_gpu.results.figures.scores import confusion, pitch_bias, pitch_counterfactual, reliability, robustness
from ser_gpu.results.figures.sound import band_difference, from_wave_to_mel, path, spectra, spectrograms, trimming

__all__ = [
    "ablation",
    "acoustic_profile",
    "band_difference",
    "confusion",
    "counts",
    "distances",
    "distributions",
    "emotions_by_protocol",
    "errors_by_side",
    "evidence",
    "from_wave_to_mel",
    "path",
    "pitch_bias",
    "pitch_counterfactual",
    "protocols",
    "reliability",
    "robustness",
    "spectra",
    "spectrograms",
    "training_curves",
    "trimming",
]
