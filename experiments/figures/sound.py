"""A clip and what the stages make of it: waveforms, spectrograms, spectra."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from experiments.acoustics import Interval, frame_levels
from experiments.figures.style import BLUE, COLOURS, GREY, ORANGE, draw_spectrogram, hertz_axis, styled
from ser_gpu.stages.spectrogram_augment import hertz_to_mel


@styled()
def pipeline(
    raw: np.ndarray,
    trimmed: np.ndarray,
    decibels: np.ndarray,
    augmented: np.ndarray,
    probabilities: dict[str, float],
    sample_rate: int,
) -> Figure:
    """One clip through the stages: as read, trimmed, as log-mel, as log-mel in training, and the answer.

    Args:
        raw: as read, [T].
        trimmed: the window that the network gets, [L].
        decibels: below the clip's peak, [M, F].
        augmented: the same in training, with its masks, [M, F].
        probabilities: of each emotion.
        sample_rate: Hz.
    """
    figure = Figure(figsize=(14.0, 2.9))
    panels = figure.subplots(1, 5, width_ratios=[1, 1, 1, 1.15, 0.8])
    peak = max(np.abs(wave).max() for wave in (raw, trimmed)) * 1.05
    seconds = len(trimmed) / sample_rate
    waves = {"waveform in": raw, f"trimmed, filled to {seconds:g} s": trimmed}
    for axes, (title, wave) in zip(panels[:2], waves.items(), strict=True):
        axes.plot(np.arange(len(wave)) / sample_rate, wave, color=BLUE, linewidth=0.5)
        axes.set(title=title, ylim=(-peak, peak), yticks=[])
    lowest = decibels.min()
    spectrograms = {"log-mel": decibels, "augmented (training only)": augmented}
    for axes, (title, spectrogram) in zip(panels[2:4], spectrograms.items(), strict=True):
        extent = (0, seconds, 0, len(spectrogram))
        image = axes.imshow(spectrogram, origin="lower", aspect="auto", extent=extent, vmin=lowest, vmax=0)
        axes.set(title=title, ylabel="mel band")
    for axes in panels[:4]:
        axes.set_xlabel("time (s)")
    figure.colorbar(image, ax=panels[3], label="dB below the peak")
    emotions = list(probabilities)[::-1]
    colours = [COLOURS.get(emotion, GREY) for emotion in emotions]
    panels[4].barh(emotions, [probabilities[emotion] for emotion in emotions], color=colours)
    panels[4].set(title="emotion out", xlabel="probability", xlim=(0, 1))
    return figure


@styled()
def trimming(
    raw: np.ndarray, bounds: tuple[int, int], window: np.ndarray, sample_rate: int, top_db: float, frame: int, hop: int
) -> Figure:
    """A clip as read, its level against the threshold of silence, and the window that is left.

    Args:
        raw: as read, [T].
        bounds: first sample kept and first sample after it.
        window: what the network gets, [L].
        sample_rate: Hz.
        top_db: silence is so far below the loudest frame.
        frame, hop: of the level, in samples.
    """
    figure = Figure(figsize=(9.0, 5.6))
    above, middle, below = figure.subplots(3, 1, height_ratios=[1, 1.1, 1])
    start, end = (bound / sample_rate for bound in bounds)
    seconds = len(raw) / sample_rate
    for axes in (above, middle):
        axes.axvspan(0, start, color=GREY, alpha=0.25, label="cut")
        axes.axvspan(end, seconds, color=GREY, alpha=0.25)
        axes.set_xlim(0, seconds)
    above.plot(np.arange(len(raw)) / sample_rate, raw, color=BLUE, linewidth=0.4)
    above.set(title="before: as recorded", ylabel="amplitude")
    levels = frame_levels(raw, frame, hop)
    middle.plot(np.arange(len(levels)) * hop / sample_rate, levels, color=BLUE)
    middle.axhline(-top_db, color=ORANGE, linestyle="--", label=f"threshold, {top_db:.0f} dB below the loudest frame")
    middle.set(title="level of each frame", ylabel="level (dB)", ylim=(-80, 4))
    middle.legend(loc="lower center", framealpha=0.9)
    below.plot(np.arange(len(window)) / sample_rate, window, color=BLUE, linewidth=0.4)
    below.set(title="after: trimmed, centred in the window", ylabel="amplitude", xlabel="time (s)")
    below.set_xlim(0, len(window) / sample_rate)
    share = 1 - (bounds[1] - bounds[0]) / len(raw)
    figure.suptitle(f"Trimming takes {share:.0%} of this clip away: {seconds - end + start:.1f} of {seconds:.1f} s")
    return figure


@styled()
def spectrograms(
    by_name: dict[str, np.ndarray], seconds: float, hertz: np.ndarray, title: str, columns: int = 2
) -> Figure:
    """Log-mel spectrograms side by side on one colour scale.

    Args:
        by_name: name -> [M, F] in dB below the clip's peak.
        seconds: length of each.
        hertz: centre of each band, [M].
        title: what the figure shows.
        columns: of panels.
    """
    rows = -(-len(by_name) // columns)
    figure = Figure(figsize=(9.4, 0.7 + 7.2 / columns * rows))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    lowest = min(spectrogram.min() for spectrogram in by_name.values())
    for axes, (name, spectrogram) in zip(panels.flat, by_name.items(), strict=False):
        image = draw_spectrogram(axes, spectrogram, seconds, hertz, vmin=lowest, vmax=0)
        axes.set_title(name)
    for axes in panels.flat[len(by_name) :]:
        axes.axis("off")
    for axes in panels[:, 0]:
        axes.set_ylabel("frequency (Hz)")
    for axes in panels[-1]:
        axes.set_xlabel("time (s)")
    figure.colorbar(image, ax=panels, label="level (dB below the clip's peak)")
    figure.suptitle(title)
    return figure


@styled()
def band_difference(hertz: np.ndarray, difference: Interval, one: str, other: str, speakers: int) -> Figure:
    """Energy of each mel band in one emotion less that in another, with a 95% band over speakers.

    Shape: [M], `Interval` of [M] in dB.
    """
    figure = Figure(figsize=(8.4, 3.9))
    axes = figure.subplots()
    axes.axhline(0, color=GREY, linewidth=0.8)
    band = f"95% interval over {speakers} speakers"
    axes.fill_between(hertz, difference.low, difference.high, color=GREY, alpha=0.25, linewidth=0, label=band)
    axes.plot(hertz, difference.mean, color="black", label=f"{one} minus {other}")
    for emotion, side in ((one, np.maximum(difference.mean, 0)), (other, np.minimum(difference.mean, 0))):
        axes.fill_between(hertz, 0, side, color=COLOURS[emotion], alpha=0.6, linewidth=0, label=f"more in {emotion}")
    more, less = hertz[difference.low > 0], hertz[difference.high < 0]
    found = f"{one.capitalize()} has more of its energy in {len(more)} of {len(hertz)} bands{_range(more)}"
    figure.suptitle(f"{found},\nand less in {len(less)}{_range(less)}")
    axes.set(xlabel="frequency (Hz)", ylabel="difference in level (dB)")
    hertz_axis(axes)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@styled()
def spectra(hertz: np.ndarray, groups: dict[str, Interval], title: str) -> Figure:
    """Mean share of energy by mel band of two groups of clips, each with a 95% band over speakers.

    Shape: [M], `Interval` of [M] in dB each.
    """
    figure = Figure(figsize=(8.4, 3.7))
    axes = figure.subplots()
    for (name, level), colour, style in zip(groups.items(), (ORANGE, BLUE), ("-", "--"), strict=True):
        axes.fill_between(hertz, level.low, level.high, color=colour, alpha=0.25)
        axes.plot(hertz, level.mean, color=colour, linestyle=style, label=name)
    figure.suptitle(title)
    axes.set_xlabel("frequency (Hz); shaded: 95% interval over speakers")
    axes.set_ylabel("energy of a band\n(dB re the whole clip)")
    hertz_axis(axes)
    axes.legend()
    return figure


@styled()
def from_wave_to_mel(
    power: np.ndarray, mel_basis: np.ndarray, decibels: np.ndarray, hertz: np.ndarray, seconds: float
) -> Figure:
    """The mel scale and the logarithm in four steps: the scale, its filters, power in bands, and decibels.

    Args:
        power: mel power spectrogram, [M, F].
        mel_basis: triangular filters, [M, K], K frequencies from 0 Hz to half the sample rate.
        decibels: below the peak, [M, F].
        hertz: centre of each band, [M].
        seconds: length of the clip.
    """
    figure = Figure(figsize=(9.4, 6.0))
    (scale, filters), (linear, logarithmic) = figure.subplots(2, 2)
    highest = hertz[-1]
    curve = np.linspace(0, highest, 400)
    scale.plot(curve, _mels(curve), color=BLUE)
    scale.plot(hertz, _mels(hertz), ".", color=ORANGE, label=f"centres of {len(hertz)} bands")
    below = int((hertz < 1_000).sum())
    title = f"{below} of {len(hertz)} bands lie below 1 kHz"
    scale.set(title=title, xlabel="frequency (Hz)", ylabel="pitch (mel, scale of Slaney)")
    scale.legend()
    frequency = np.linspace(0, 1, mel_basis.shape[1]) * highest * _nyquist_ratio(mel_basis, hertz)
    for number in range(0, len(hertz), 4):
        filters.plot(frequency, mel_basis[number] / mel_basis[number].max(), color=BLUE if number % 8 else ORANGE)
    filters.set(title="each fourth band: a triangle", xlabel="frequency (Hz)", ylabel="weight (peak at 1)")
    for axes in (scale, filters):
        axes.xaxis.set_major_formatter("{x:,.0f}")
    loud = (power > power.max() / 100).mean()
    image = draw_spectrogram(linear, power / power.max(), seconds, hertz, vmin=0, vmax=1)
    linear.set(title=f"power: {loud:.0%} of cells above 1% of the peak", ylabel="frequency (Hz)")
    figure.colorbar(image, ax=linear, label="power (peak at 1)")
    image = draw_spectrogram(logarithmic, decibels, seconds, hertz, vmin=decibels.min(), vmax=0)
    grey = (decibels > decibels.min() + 1).mean()
    logarithmic.set(title=f"decibels: {grey:.0%} of cells above the floor")
    figure.colorbar(image, ax=logarithmic, label="level (dB below the peak)")
    for axes in (linear, logarithmic):
        axes.set_xlabel("time (s)")
    return figure


def _mels(hertz: np.ndarray) -> np.ndarray:
    return hertz_to_mel(torch.from_numpy(hertz)).numpy()


def _nyquist_ratio(mel_basis: np.ndarray, hertz: np.ndarray) -> float:
    """Half the sample rate over the centre of the last band, from where its filter peaks."""
    return (mel_basis.shape[1] - 1) / max(1, int(mel_basis[-1].argmax()))


def _range(hertz: Sequence[float]) -> str:
    return f", between {min(hertz):,.0f} and {max(hertz):,.0f} Hz" if len(hertz) else ""
