"""The first weights of a training, taken from a checkpoint: the trunk, and the head where label names agree."""

from pathlib import Path

import torch

from ser_gpu import checkpoint, files
from ser_gpu.corpora.clip import OWN
from ser_gpu.corpora.known import licence_of
from ser_gpu.corpora.splits import Protocol
from ser_gpu.errors import InputError, check
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.settings import first_difference, flat
from ser_gpu.stages.cnn import EmotionCnn

MAY_DIFFER = ("cnn.block_dropout", "cnn.head_dropout", "mel.backend", "audio.clip_seconds")


def sha256(path: str | Path) -> str:
    """SHA-256 of a checkpoint, in hexadecimal; InputError where there is no such file."""
    check(Path(path).is_file(), f"{path}: no such checkpoint")
    return files.sha256(path)


def origin(path: str | Path) -> dict:
    """What a plan keeps of the weights of a checkpoint: the corpora that they were trained on, and their licence."""
    _, provenance = checkpoint.load(path, "cpu")
    protocol = Protocol.from_dict(provenance.protocol)
    names = (protocol.corpus or OWN).split(", ")  # older files name it otherwise
    names = [name for name in names if name not in protocol.test_corpora]
    return {"init_corpora": tuple(names), "init_licence": licence_of(names, provenance.licence)}


@torch.no_grad()
def take_weights(model: SpeechEmotionModel, source: SpeechEmotionModel, name: str | Path) -> tuple[str, ...]:
    """Copy the network's weights from another model, but not its temperature; rows of the head go by label name, and
    the shared names come back. InputError, with `name` of the file, where the networks or what they see differ."""
    seen = ("audio", "mel", "cnn")
    there, here = (flat({part: own.config.as_dict()[part] for part in seen}) for own in (source, model))
    there |= {setting: here[setting] for setting in MAY_DIFFER}
    if difference := first_difference(there, here):
        raise InputError(f"{name}: {difference}")
    shared = [label for label in model.labels if label in source.labels]
    rows, their_rows = ([labels.index(label) for label in shared] for labels in (model.labels, source.labels))
    with torch.device("meta"):  # head tensors are those that grow with the emotions
        config, more = model.config, len(model.labels) + 1
        larger = EmotionCnn(config.cnn, config.mel.n_mels, config.frames, more).state_dict()
    own = model.cnn.state_dict()
    for key, value in source.cnn.state_dict().items():
        in_head = larger[key].shape != own[key].shape
        if own[key].shape[in_head:] != value.shape[in_head:]:
            raise InputError(f"{name}: its network has {key} of {list(value.shape)}, this one {list(own[key].shape)}")
        if in_head:
            own[key][rows] = value[their_rows].to(model.device)
        else:
            own[key].copy_(value)
    if model.config.mel.trainable:
        model.mel.load_state_dict(source.mel.state_dict())
    return tuple(shared)
