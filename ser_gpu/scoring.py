"""What a model answers on clips of a bank, and how right it is."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ser_gpu.data.ravdess import Clip
from ser_gpu.data.waveform import ClipBank
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.results import metrics

_BATCH = 64


@torch.inference_mode()
def collect_logits(model: SpeechEmotionModel, bank: ClipBank, index: Tensor, views: bool = True) -> Tensor:
    """Logits of some clips of a bank, in evaluation mode; of the clips alone without `views`.

    Shape: [N] int64 -> [N, C] float32.
    """
    model.eval()
    return torch.cat([model(*bank.batch(part), views=views).float() for part in index.split(_BATCH)])


def report(model: SpeechEmotionModel, logits: Tensor, clips: Sequence[Clip], speaker_independent: bool) -> dict:
    """All scores of some clips; intervals resample actors where the protocol holds actors out, else clips.

    Shape: logits [N, C] for N clips.
    """
    return metrics.report(
        labels=np.array([clip.emotion for clip in clips]),
        logits=logits.cpu().numpy(),
        temperature=float(model.temperature),
        emotions=model.labels,
        sexes=[clip.sex for clip in clips],
        intensities=[clip.intensity for clip in clips],
        groups=[clip.actor if speaker_independent else clip.name for clip in clips],
    )


def prediction_rows(model: SpeechEmotionModel, logits: Tensor, clips: Sequence[Clip], part: str) -> list[dict]:
    """What the model answered for each clip, in full, as rows of a CSV file.

    Shape: logits [N, C] for N clips.
    """
    probabilities = model.probabilities(logits).cpu().tolist()
    return [
        {
            "part": part,
            "clip": clip.name,
            "actor": clip.actor,
            "emotion": model.labels[clip.emotion],
            "predicted": model.labels[max(range(len(answer)), key=answer.__getitem__)],
            **{emotion: f"{share:.5f}" for emotion, share in zip(model.labels, answer, strict=True)},
        }
        for clip, answer in zip(clips, probabilities, strict=True)
    ]
