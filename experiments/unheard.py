"""The clips that a checkpoint never heard: the test part of its own protocol."""

from pathlib import Path

import torch

from ser_gpu import checkpoint, command_line
from ser_gpu.checkpoint import Provenance
from ser_gpu.data.ravdess import Clip
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.results import environment

RESULTS = Path(__file__).resolve().parent / "results"


def load(path: str, data: str | None, device: torch.device) -> tuple[SpeechEmotionModel, Provenance, list[Clip]]:
    """A model, where it comes from, and its test part.

    Raises:
        ValueError: the clips found are not those that its protocol dealt with, so its test part is not known.
    """
    model, provenance = checkpoint.load(path, device)
    found = command_line.find_clips(data)
    split = provenance.protocol.split(found)
    if split.manifest_hash != provenance.manifest_hash:
        raise ValueError(f"{path}: was trained on another set of clips than the {len(found):,} found")
    return model, provenance, [clip for clip in found if split.part_of[clip.name] == "test"]


def header(path: str, provenance: Provenance, clips: list[Clip], device: torch.device) -> dict:
    """What every result of a study says about its model."""
    return {
        "checkpoint": Path(path).name,
        "protocol": provenance.protocol.name,
        "fold": provenance.protocol.fold,
        "training_seed": provenance.seed,
        "manifest_hash": provenance.manifest_hash,
        "clips": len(clips),
        "environment": environment.describe(device),
    }
