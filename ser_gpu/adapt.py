"""Enrolment: a speaker's own recordings become a `Voice`, with which the same model answers that speaker better.

What is learnt are the statistics of the network's batch normalisation on the speaker's speech, shrunk towards those of
all the voices of the training. No label is needed. But that presumes varied speech: a speaker who is angry in every
enrolled clip is made neutral. Where two emotions and more are named, the network's last layer is adapted to them too.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ser_gpu import enrolment
from ser_gpu.errors import InputError, NoSpeechError
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages import speaker_norm
from ser_gpu.stages.speaker_norm import Statistics
from ser_gpu.voice import Voice, model_hash
from ser_gpu.windows import in_evaluation, speech


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
            there, clips of one emotion alone weigh less against the population, and of two emotions and more the
            last layer learns how this speaker expresses them.
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
    hashed, model = model_hash(model), in_evaluation(model)
    windows, seconds = [], 0.0
    for recording in recordings:
        name, pieces = speech(model, recording, sample_rate)
        found = list(pieces)
        if not any(len(piece.samples) for piece in found):
            raise NoSpeechError(f"{name}: no speech found")
        windows.append(torch.cat([piece.samples for piece in found]))
        seconds += sum(piece.seconds for piece in found)
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
    if not speaker_norm.layers(model.cnn):
        raise InputError(f"the network {model.config.cnn.network!r} has no batch normalisation that could be adapted")
    plan = enrolment.plan([len(part) for part in windows], emotions, model.labels)
    heard = torch.cat(list(windows))[torch.from_numpy(plan.kept)]
    spectrogram = model.spectrogram(heard.to(model.device))
    found = _measured(model, spectrogram, plan)
    answers = model.classify(spectrogram[: len(heard)], len(heard)).argmax(dim=1).tolist()
    notes = enrolment.notes(plan, [model.labels[answer] for answer in answers])
    spoken = len(heard) * model.config.audio.clip_seconds if seconds is None else seconds
    hashed = hashed or model_hash(model)
    mean, variance = found.mean.numpy(), found.variance.numpy()
    head = None if found.head is None else found.head.numpy()
    return Voice(mean, variance, hashed, len(windows), plan.count, spoken, plan.emotions, notes, head)


@torch.inference_mode()
def statistics(model: SpeechEmotionModel, spectrogram: Tensor, emotions: Sequence[str] | None = None) -> Statistics:
    """As `of_windows`, of what the network sees of each window in all its views.

    Args:
        model: in evaluation mode.
        emotions: of each window.

    Shape: [V, W, 1, M, F] -> mean [N], variance [N], head [C, inputs + 1].
    """
    plan = enrolment.plan([1] * spectrogram.shape[1], emotions, model.labels)
    return _measured(model, spectrogram[:, torch.from_numpy(plan.kept)].flatten(0, 1), plan)


def _measured(model: SpeechEmotionModel, spectrogram: Tensor, plan: enrolment.Plan) -> Statistics:
    """Of all views together: with the clips' own statistics the views of a clip are answered worse.

    Shape: [V W, 1, M, F] -> mean [N], variance [N], head [C, inputs + 1] on the CPU.
    """
    views = len(spectrogram) // len(plan.kept)
    weight = torch.from_numpy(plan.weight).to(model.device).repeat(views) / views
    dtype = next(model.cnn.parameters()).dtype
    heard = speaker_norm.measured(model.cnn, spectrogram.to(dtype), weight, plan.share)
    features, logits = (each.unflatten(0, (views, -1)).mean(dim=0) for each in (heard.features, heard.logits))
    temperature = float(model.temperature)
    log_probabilities = (logits / temperature).log_softmax(dim=1)
    head = enrolment.head(plan, features.numpy(), log_probabilities.numpy(), model.labels, temperature)
    return dataclasses.replace(heard.statistics, head=None if head is None else torch.from_numpy(head))
