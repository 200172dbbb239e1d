"""Occlusion: how much less likely an emotion becomes when a patch of the spectrogram is hidden."""

import torch
from torch import Tensor

from ser_gpu.model import SpeechEmotionModel

_BATCH = 64


@torch.inference_mode()
def occlusion(
    model: SpeechEmotionModel,
    waveform: Tensor,
    emotion: int,
    bands: int = 8,
    frames: int = 16,
) -> tuple[Tensor, Tensor]:
    """Hide one patch of the spectrogram after the other and measure how far the log-odds of an emotion fall.

    Patches overlap by half. A hidden patch is set to the mean of the clip, as the masks of the training are. The
    evidence of a cell is the mean fall of the log-odds, in nats, over the patches that cover it; where it is negative,
    the patch spoke against the emotion. There is no test-time augmentation here.

    Args:
        model: from raw audio.
        waveform: of one clip at the model's sample rate.
        emotion: index into the model's labels.
        bands, frames: size of a patch.

    Shape: [T] -> [M, F] decibels below the clip's peak; [M, F] evidence.

    Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014.
    """
    model.eval()
    window = model.window(waveform[None])
    spectrogram = model.spectrogram_of_window(window, tta=False)
    height, width = spectrogram.shape[-2:]
    patches = torch.stack(_patches(height, width, bands, frames)).to(waveform.device)
    whole = _log_odds(model, spectrogram, emotion)
    falls = [
        whole - _log_odds(model, spectrogram.masked_fill(part[:, None], 0.0), emotion) for part in patches.split(_BATCH)
    ]
    weight = patches.float()
    evidence = torch.tensordot(torch.cat(falls).float(), weight, dims=1) / weight.sum(dim=0)
    return model.decibels(window)[0, 0], evidence


def _log_odds(model: SpeechEmotionModel, spectrogram: Tensor, emotion: int) -> Tensor:
    logits = model.cnn(spectrogram).mean(dim=0).double() / model.temperature
    others = [label for label in range(len(model.labels)) if label != emotion]
    return logits[:, emotion] - logits[:, others].logsumexp(dim=1)


def _patches(height: int, width: int, bands: int, frames: int) -> list[Tensor]:
    patches = []
    for band in _starts(height, bands):
        for frame in _starts(width, frames):
            patch = torch.zeros(height, width, dtype=torch.bool)
            patch[band : band + bands, frame : frame + frames] = True
            patches.append(patch)
    return patches


def _starts(size: int, patch: int) -> list[int]:
    """Half a patch apart; the last patch ends at the edge."""
    last = max(0, size - patch)
    return sorted({*range(0, last, max(1, patch // 2)), last})
