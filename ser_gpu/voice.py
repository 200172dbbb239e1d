"""Voice: what a model learnt of one speaker, and its `.voice` file of plain data."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ser_gpu import checkpoint
from ser_gpu.audio.error import printable
from ser_gpu.checkpoint import CheckpointError
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.speaker_norm import Statistics

FORMAT_VERSION = 1
LARGEST_BYTES = 2**24
_KEYS = ("format_version", "kind", "model", "mean", "variance", "recordings", "windows", "seconds", "emotions", "notes")
_KIND = "ser_gpu voice"

_hashes: WeakKeyDictionary[SpeechEmotionModel, tuple[tuple, str]] = WeakKeyDictionary()


class VoiceError(ValueError):
    """A voice that cannot be used; the message is one line."""


@dataclass(frozen=True, eq=False)
class Voice:
    """A speaker as one model hears them; `ser_gpu.adapt.enrol` makes it, and nothing changes it.

    Attributes:
        statistics: with which the model's batch normalisation works for this speaker.
        model: hash of that model, see `model_hash`.
        recordings: how many were enrolled.
        windows: with speech in them.
        seconds: of speech.
        emotions: those that were named, each once; empty where none was.
        notes: one line each on what may be wrong with them.
    """

    statistics: Statistics
    model: str
    recordings: int
    windows: int
    seconds: float
    emotions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def save(self, path: str | Path) -> None:
        """Write the voice, a few kilobytes; the file appears whole or not at all.

        Raises:
            OSError: the file cannot be written; names `path`.
        """
        content = {
            "format_version": FORMAT_VERSION,
            "kind": _KIND,
            "model": self.model,
            "mean": self.statistics.mean.contiguous().clone(),
            "variance": self.statistics.variance.contiguous().clone(),
            "recordings": self.recordings,
            "windows": self.windows,
            "seconds": self.seconds,
            "emotions": list(self.emotions),
            "notes": list(self.notes),
        }
        checkpoint.write(path, content)

    @classmethod
    def load(cls, path: str | Path) -> "Voice":
        """Read a voice; code in the file is refused.

        Raises:
            VoiceError: the file is missing, damaged, or no voice; one line that names it.
        """
        path = Path(path)
        if path.is_file() and path.stat().st_size > LARGEST_BYTES:
            raise VoiceError(f"{path}: too large for a voice file")
        try:
            return cls._of(checkpoint.read(path, "voice"))
        except CheckpointError as error:
            raise VoiceError(str(error)) from None
        except (ValueError, TypeError, AttributeError) as error:
            raise VoiceError(f"{path}: not a voice file: {printable(' '.join(str(error).split())[:120])}") from None

    @classmethod
    def _of(cls, content: dict) -> "Voice":
        if content.get("kind") != _KIND:
            raise ValueError("it says that it is something else")
        if content.get("format_version") != FORMAT_VERSION:
            raise ValueError(f"its format is not {FORMAT_VERSION}, which this version of ser_gpu reads")
        if content.keys() != set(_KEYS):
            raise ValueError("other keys than a voice has")
        mean, variance = content["mean"], content["variance"]
        for name, value in (("mean", mean), ("variance", variance)):
            if not isinstance(value, Tensor) or value.ndim != 1 or value.dtype != torch.float32:
                raise ValueError(f"{name} is no vector of float32")
            if value.layout != torch.strided or value.untyped_storage().nbytes() < 4 * value.numel():
                raise ValueError(f"{name} is no plain tensor")
            if not value.isfinite().all():
                raise ValueError(f"{name} is not finite")
        if mean.shape != variance.shape or (variance < 0).any():
            raise ValueError("the variance is not that of the mean")
        counts = content["recordings"], content["windows"]
        if not all(type(count) is int and count > 0 for count in counts):
            raise ValueError("the counts are no whole numbers")
        if type(content["seconds"]) is not float or not 0.0 < content["seconds"] < 1e9:
            raise ValueError("the seconds are no positive number")
        if not isinstance(content["model"], str):
            raise ValueError("the hash of the model is no text")
        for name in ("emotions", "notes"):
            if not isinstance(content[name], list) or not all(isinstance(each, str) for each in content[name]):
                raise ValueError(f"the {name} are no texts")
        return cls(
            Statistics(mean, variance),
            content["model"],
            *counts,
            content["seconds"],
            tuple(content["emotions"]),
            tuple(map(printable, content["notes"])),
        )


def model_hash(model: SpeechEmotionModel) -> str:
    """SHA-256 of what a voice depends on: the labels, and the network with its weights; in hexadecimal.

    It is computed once, and again when a weight has changed.
    """
    tensors = list(model.cnn.state_dict().values())
    state = tuple((each.data_ptr(), None if each.is_inference() else each._version) for each in tensors)
    known = _hashes.get(model)
    if known is None or known[0] != state:
        digest = hashlib.sha256(repr(model.labels).encode())
        for each in tensors:
            digest.update(f"{each.dtype}{list(each.shape)}".encode())
            digest.update(each.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        known = _hashes[model] = state, digest.hexdigest()
    return known[1]


def require_model(voice: Voice | None, model: SpeechEmotionModel) -> None:
    """Raise unless the voice, if there is one, was enrolled with this model.

    Raises:
        VoiceError: it was another one.
    """
    if voice is None:
        return
    if not isinstance(voice, Voice):
        raise VoiceError(f"voice must be what model.enrol gives, got {type(voice).__name__}")
    if voice.model != model_hash(model):
        raise VoiceError("the voice was enrolled with another model; enrol it again with this one")


def of_clips(model: SpeechEmotionModel, voice: Voice | Sequence[Voice | None], clips: int) -> Sequence[Voice | None]:
    """The voice of each clip of a batch.

    Raises:
        VoiceError: another number of voices than clips, or a voice of another model.
    """
    voices = [voice] * clips if isinstance(voice, Voice) else list(voice)
    if len(voices) != clips:
        raise VoiceError(f"{len(voices)} voices for {clips} clips")
    for each in {id(each): each for each in voices}.values():
        require_model(each, model)
    return voices
