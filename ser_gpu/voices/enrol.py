"""Enrolment: a `Voice` has a speaker's batch normalisation statistics, shrunk towards those of the training.

No label is needed, but speech must be varied: if the speaker is angry in every clip, that is taken for neutral.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ser_gpu.errors import NoSpeechError
from ser_gpu.timeline import Answers, Speakers, stretches
from ser_gpu.voices import plan as plans
from ser_gpu.voices.plan import MOST_WINDOWS, Measured, Plan
from ser_gpu.voices.voice import Voice
from ser_gpu.windows import cut

if TYPE_CHECKING:
    from ser_gpu.recognizer import Recognizer

SHORTEST_SECONDS = 1.0


def of_windows(
    model: "Recognizer", windows: Sequence[np.ndarray], emotions: Iterable[str] | None = None, seconds: float = 0.0
) -> Voice:
    """The voice by the windows with speech of each recording, [V, L]. Raises ValueError as `Recognizer.enrol`."""
    plan = plans.plan([len(part) for part in windows], emotions, model.labels)
    measured, answers = model.measure(np.concatenate(windows)[plan.kept], plan)
    notes = plans.notes(plan, [model.labels[answer] for answer in answers])
    seconds = seconds or len(plan.kept) * model.window_samples / model.sample_rate
    return of_measured(model, plan, measured, len(windows), seconds, notes)


def of_measured(
    model: "Recognizer", plan: Plan, measured: Measured, recordings: int, seconds: float, notes: tuple[str, ...] = ()
) -> Voice:
    """The voice that was measured by a plan."""
    head = plans.head(plan, measured, model.labels, float(model.temperature))
    about = (model.network_hash, recordings, plan.count, seconds, plan.emotions, notes, head)
    return Voice(measured.mean, measured.variance, *about)


def own_voice(
    model: "Recognizer", recording: object, sample_rate: int | None = None, speakers: Speakers | None = None
) -> Voice | dict[str, Voice]:
    """Enrol a recording's own speech, for its timeline; with `speakers`, each who speaks for a second without a pause.

    The recording is read once, in constant memory. Without `speakers` it must have one speaker: two become one who does
    not exist. Raises NoSpeechError where nobody speaks for a second; AudioError and ValueError as `Recognizer.enrol`.

    >>> model.timeline("talk.mp3", voice=own_voice(model, "talk.mp3"))  # doctest: +SKIP
    """
    listener = _Listener(model)
    name, parts = stretches(listener, recording, sample_rate, speakers)
    for _ in parts:
        pass
    if not listener.heard:
        raise NoSpeechError.of(name, "too little speech to enrol, nobody speaks for a second without a pause")
    kept = listener.heard.items()
    voices = {speaker: of_windows(model, [np.stack(each.kept)], seconds=each.seconds) for speaker, each in kept}
    return voices[None] if speakers is None else {name: each for name, each in voices.items() if name is not None}


class _Listener(Answers):
    # keeps the windows that a timeline asks about

    def __init__(self, model: "Recognizer"):
        super().__init__(model)
        self._model = model
        self.heard: dict[str | None, _Thinned] = {}
        self._answer = np.full(len(model.labels), 1 / len(model.labels))

    def of_recording(self, recording: np.ndarray, speaker: str | None = None) -> np.ndarray:
        for window in cut(self._at_own_rate(recording), self._model.window_samples, self._model.trim_config)[1]:
            self._keep(window, speaker)
        return self._answer

    def of_stretch(self, stretch: np.ndarray, speaker: str | None = None) -> np.ndarray:
        self._keep(self._at_own_rate(stretch)[: self._model.window_samples], speaker)
        return self._answer

    def _keep(self, window: np.ndarray, speaker: str | None) -> None:
        seconds = len(window) / self.sample_rate
        if seconds >= SHORTEST_SECONDS:
            window = np.pad(window, (0, self._model.window_samples - len(window)))
            self.heard.setdefault(speaker, _Thinned()).take(window, seconds)


class _Thinned:
    # every nth window, so that a few are spread over the whole recording

    def __init__(self):
        self.kept: list[np.ndarray] = []
        self.seconds, self._count, self._every = 0.0, 0, 1

    def take(self, window: np.ndarray, seconds: float) -> None:
        self.seconds += seconds
        if self._count % self._every == 0:
            self.kept.append(window)
        self._count += 1
        if len(self.kept) == 2 * MOST_WINDOWS:
            self.kept = self.kept[::2]
            self._every *= 2
