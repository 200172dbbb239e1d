"""Voice: what a model learnt of one speaker, and its `.voice` file, which is JSON."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_gpu.errors import InputError, check, printable, reason
from ser_gpu.files import replacing
from ser_gpu.voices import plan

FORMAT_VERSION = 3  # 1 was an archive of torch, which nothing else could read
LARGEST_BYTES = 2**24
_ABOUT = ("model", "recordings", "windows", "seconds", "emotions", "notes")
_KEYS = ("format_version", "kind", *_ABOUT, "mean", "variance", "head")
_KIND = "ser_gpu voice"


class VoiceError(InputError):
    """A voice that cannot be used."""


@dataclass(frozen=True, eq=False)
class Voice:
    """A speaker as one model hears them, as `Recognizer.enrol` makes it."""

    mean: np.ndarray  # of the model's batch normalisations, one layer after the other, [N] float32
    variance: np.ndarray  # the same
    model: str  # its `Recognizer.network_hash`
    recordings: int  # that were enrolled
    windows: int  # with speech in them
    seconds: float  # of speech
    emotions: tuple[str, ...] = ()  # those that were named, each once
    notes: tuple[str, ...] = ()  # one line each: what may be wrong
    head: np.ndarray | None = None  # `ser_gpu.voices.plan.head`, [C, inputs + 1] float32

    @property
    def sharpness(self) -> float:
        """The factor of the model's logits for this speaker: `ser_gpu.voices.plan.sharpness`."""
        return plan.sharpness(self.windows, self.emotions)

    def save(self, path: str | Path) -> None:
        """Write the voice, some tens of kilobytes; the file appears whole or not at all."""
        content = {"format_version": FORMAT_VERSION, "kind": _KIND, **{name: getattr(self, name) for name in _ABOUT}}
        content |= {"mean": numbers(self.mean), "variance": numbers(self.variance)}
        content["head"] = None if self.head is None else [numbers(row) for row in self.head]
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Voice":
        """Read a voice. Raises VoiceError for a file that is missing, damaged, or no voice."""
        path = Path(path)
        check(path.is_file(), f"{path}: no such voice", VoiceError)
        check(path.stat().st_size <= LARGEST_BYTES, f"{path}: too large for a voice file", VoiceError)
        try:
            return cls._of(json.loads(path.read_bytes()))
        except OSError as error:
            raise VoiceError(f"{path}: cannot be read: {reason(error).lower()}") from None
        except (ValueError, RecursionError) as error:  # of JSON too
            raise VoiceError(f"{path}: not a voice file: {reason(error)}") from None

    @classmethod
    def _of(cls, content: object) -> "Voice":
        check(isinstance(content, dict) and content.get("kind") == _KIND, "it does not say that it is one")
        if content.get("format_version") == 2:  # which had no head
            content |= {"format_version": 3, "head": None}
        if content.get("format_version") != FORMAT_VERSION:
            raise InputError(f"its format is not {FORMAT_VERSION}, which this version of ser_gpu reads")
        check(content.keys() == set(_KEYS), "other keys than a voice has")
        mean, variance = (_array(name, content[name], 1) for name in ("mean", "variance"))
        check(mean.shape == variance.shape and not (variance < 0).any(), "the variance is not that of the mean")
        head = None if content["head"] is None else _array("head", content["head"], 2)
        model, *counts, seconds, emotions, notes = (content[name] for name in _ABOUT)
        check(all(type(count) is int and count > 0 for count in counts), "the counts are no whole numbers")
        if type(seconds) not in (int, float) or not 0.0 < seconds < float("inf"):
            raise InputError("the seconds are no positive number")
        for texts in ([model], emotions, notes):
            if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
                raise InputError("the model, the emotions or the notes are no texts")
        texts = (tuple(map(printable, each)) for each in (emotions, notes))
        return cls(mean, variance, model, *counts, float(seconds), *texts, head)


def numbers(values: np.ndarray) -> list[float]:
    """Numbers for JSON, with as many digits as tell each float32 from its neighbours."""
    return [float(str(value)) for value in values]


def _array(name: str, numbers: object, dimensions: int) -> np.ndarray:
    try:
        found = np.array(numbers, object)
    except ValueError:  # rows of other lengths
        found = np.array(None)
    largest = float(np.finfo(np.float32).max)
    are_good = all(type(each) in (int, float) and abs(each) <= largest for each in found.flat)  # not NaN
    if not (found.size and are_good and found.ndim == dimensions):
        raise InputError(f"{name} is no {'list' if dimensions == 1 else 'table'} of finite numbers")
    return found.astype(np.float32)
