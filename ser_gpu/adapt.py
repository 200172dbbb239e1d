"""Enrolment: a speaker's own recordings become a `Voice`, with which the same model answers that speaker better.

What is learnt are the statistics of the network's batch normalisation on the speaker's speech, shrunk towards those of
all the voices of the training. No label is needed. But that presumes varied speech: a speaker who is angry in every
enrolled clip is made neutral.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ser_gpu import inference
from ser_gpu.corpora.labels import EMOTIONS, canonical
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.prediction import NoSpeechError
from ser_gpu.stages import speaker_norm
from ser_gpu.voice import Voice, model_hash

POPULATION_WINDOWS = 8.0  # windows of a speaker that weigh as much as the population; chosen on validation speakers
POPULATION_WINDOWS_ONE_EMOTION = 16.0  # the same where all clips are said to have one emotion
HELPFUL_WINDOWS = 16  # on validation speakers 16 clips helped every network that was tried, and 8 not every one
ALIKE_SHARE = 0.8
_FEWEST_ALIKE = 4
_MOST_WINDOWS = 96  # more change little, and all views of all of them are in memory at once


def enrol(
    model: SpeechEmotionModel,
    recordings: Iterable,
    emotions: Iterable[str] | None = None,
    sample_rate: int | None = None,
) -> Voice:
    """Learn a speaker's voice; the model is not changed.

    Args:
        model: on any device, in any mode.
        recordings: of this speaker alone, each as in `ser_gpu.inference.predict`; 16 varied ones and more help.
        emotions: of each recording, where they are known: then each emotion weighs the same, however often it is
            there, and clips of one emotion alone weigh less against the population.
        sample_rate: as in `ser_gpu.inference.predict`, for all.

    Raises:
        AudioError: a recording that cannot be used, or in which nobody speaks; one line that names it.
        ValueError: no recording, an emotion that nobody knows, or another number of emotions than recordings; a
            network without batch normalisation.

    Example:
        >>> voice = model.enrol(["a.wav", "b.wav"])  # doctest: +SKIP
        >>> model.predict("c.wav", voice=voice)  # doctest: +SKIP
    """
    recordings = [recordings] if isinstance(recordings, (str, bytes, Path)) else list(recordings)
    hashed, model = model_hash(model), inference.in_evaluation(model)
    windows, seconds = [], 0.0
    for recording in recordings:
        name, pieces = inference.speech(model, recording, sample_rate)
        found = list(pieces)
        if not any(len(piece.samples) for piece in found):
            raise NoSpeechError(f"{name}: no speech found")
        windows.append(torch.cat([piece.samples for piece in found]))
        seconds += _seconds(model, found)
    return of_windows(model, windows, emotions, seconds, hashed)


@torch.inference_mode()
def of_windows(
    model: SpeechEmotionModel,
    windows: Sequence[Tensor],
    emotions: Iterable[str] | None = None,
    seconds: float | None = None,
    hashed: str | None = None,
) -> Voice:
    """As `enrol`, of the windows with speech of each recording.

    Args:
        model: in evaluation mode.
        windows: of each recording.
        seconds: of speech; left out, the windows'.
        hashed: the model's hash, where it is known.

    Shape: [V, L] each.
    """
    if not windows:
        raise ValueError("no recording to enrol")
    if not speaker_norm.layers(model.cnn):
        raise ValueError(f"the network {model.config.cnn.network!r} has no batch normalisation that could be adapted")
    names = _emotions(model, emotions, len(windows))
    of_window = [i for i, part in enumerate(windows) for _ in part]
    count = len(of_window)
    kept = torch.linspace(0, count - 1, min(count, _MOST_WINDOWS)).round().long()
    of_window = [of_window[i] for i in kept.tolist()]
    heard = torch.cat(list(windows))[kept]
    weight = _weights([names[i] for i in of_window] if names else [""] * len(of_window))
    distinct = sorted({*names}) if names else []
    population = POPULATION_WINDOWS_ONE_EMOTION if len(distinct) == 1 else POPULATION_WINDOWS
    effective = count / len(of_window) / float(weight.square().sum())
    share = effective / (effective + population)
    # of all views together: with the clips' own statistics the views of a clip are answered worse
    spectrogram = model.spectrogram(heard.to(model.device)).to(next(model.cnn.parameters()).dtype)
    views = len(spectrogram) // len(heard)
    statistics = speaker_norm.measured(model.cnn, spectrogram, weight.to(model.device).repeat(views) / views, share)
    notes = _notes(model, spectrogram[: len(heard)], count, distinct)
    spoken = len(heard) * model.config.audio.clip_seconds if seconds is None else seconds
    statistics = speaker_norm.Statistics(statistics.mean.clone(), statistics.variance.clone())
    return Voice(statistics, hashed or model_hash(model), len(windows), count, spoken, tuple(distinct), notes)


def _emotions(model: SpeechEmotionModel, emotions: Iterable[str] | None, count: int) -> list[str]:
    """The canonical emotion of each recording; empty where they are not known."""
    if emotions is None:
        return []
    names = [canonical(name) for name in ([emotions] * count if isinstance(emotions, str) else emotions)]
    if len(names) != count:
        raise ValueError(f"{len(names)} emotions for {count} recordings")
    known = {*EMOTIONS, *model.labels}
    if unknown := sorted({*names} - known):
        raise ValueError(f"no such emotion: {', '.join(unknown)}; there are {', '.join(model.labels)}")
    return names


def _weights(names: Sequence[str]) -> Tensor:
    """The same for each emotion, and within it for each window; they sum to one.

    Shape: -> [V].
    """
    counts = Counter(names)
    return torch.tensor([1.0 / (len(counts) * counts[name]) for name in names])


def _notes(model: SpeechEmotionModel, spectrogram: Tensor, count: int, emotions: Sequence[str]) -> tuple[str, ...]:
    """What the user should know before they trust the voice."""
    notes = []
    if count < HELPFUL_WINDOWS:
        clips = "clip" if count == 1 else "clips"
        notes.append(f"{count} {clips} with speech may not help; {HELPFUL_WINDOWS} varied ones and more do")
    answers = model.classify(spectrogram, len(spectrogram)).argmax(dim=1).tolist()
    (label, times), *_ = Counter(answers).most_common(1)
    if len(emotions) == 1:
        notes.append(f"all clips are {emotions[0]}: the voice stays close to that of nobody in particular")
    elif not emotions and len(answers) >= _FEWEST_ALIKE and times >= ALIKE_SHARE * len(answers):
        heard = model.labels[label]
        notes.append(
            f"the clips are alike, {times} of {len(answers)} sound {heard}: with this voice {heard} will be heard "
            "less; enrol varied speech, or name the emotions"
        )
    return tuple(notes)


def _seconds(model: SpeechEmotionModel, pieces: Sequence[inference.Windows]) -> float:
    """Speech of a recording, in seconds, what windows share counted once."""
    window = model.config.audio.clip_samples
    starts = torch.cat([piece.starts for piece in pieces])
    if len(starts) == 1:
        sounding = torch.cat([piece.samples for piece in pieces])[0].nonzero()
        samples = int(sounding[-1] - sounding[0]) + 1 if len(sounding) else 0
    else:
        samples = int(starts.diff().clamp(max=window).sum()) + window
    return max(samples, 1) / model.sample_rate
