"""TrimSilence: cut leading and trailing silence, then fill the window or crop to it around the centre."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_gpu.config import TrimConfig
from ser_gpu.stages.mel import map_chunks

_SMALLEST_POWER = 1e-10


class TrimSilence(nn.Module):
    """Batched `librosa.effects.trim`, then filling of a window or cropping to it.
    A frame is silent if its RMS is `top_db` or more below the clip's loudest frame; a clip without sound stays whole.
    Shape: [B, T] float32 or int16, with zeros behind each clip, lengths [B] int64 (None: every clip fills its row) ->
    [B, L = clip_samples] of the same kind.
    Source: `librosa.effects.trim` (librosa 0.11), reference level `np.max`."""

    def __init__(self, config: TrimConfig, clip_samples: int):
        super().__init__()
        self.config = config
        self.clip_samples = clip_samples

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        given = (waveform,) if lengths is None else (waveform, lengths)
        return map_chunks(lambda clips, *own: self.window(clips, *self.bounds(clips, *own)), *given)

    def window(self, waveform: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Samples `start` to `end`, [B] each, centred in a window [B, L], again and again if `config.fill` is "repeat";
        of longer clips, the central L."""
        start = start + ((end - start - self.clip_samples) // 2).clamp(min=0)
        kept = (end - start).clamp(max=self.clip_samples)
        margin = (self.clip_samples - kept) // 2
        if self.config.fill == "repeat" and waveform.device.type == "cpu" and not torch.compiler.is_compiling():
            # by stretches, since an index for each sample is slow on a processor
            spans = zip(waveform, start.tolist(), kept.tolist(), strict=True)
            return torch.stack([_repeated(clip[at : at + count], self.clip_samples) for clip, at, count in spans])
        time, before = torch.arange(self.clip_samples, device=waveform.device), (start - margin)[:, None]
        if self.config.fill == "repeat":
            return waveform.gather(1, start[:, None] + (time - margin[:, None]).remainder(kept[:, None]))
        if torch.compiler.is_exporting():  # a graph would write all stretches out
            window = waveform.gather(1, (time + before).clamp(0, waveform.shape[1] - 1))
        else:  # every stretch, as a view; one of each clip is copied out of it
            half = self.clip_samples // 2
            stretches = F.pad(waveform, (half, self.clip_samples - half)).unfold(1, self.clip_samples, 1)
            window = stretches[torch.arange(len(waveform), device=waveform.device), before[:, 0] + half]
        return window.where((time >= margin[:, None]) & (time < (margin + kept)[:, None]), 0)

    def bounds(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """First sample kept and first sample after the last one kept. Shape: [B, T], [B] -> two of [B] int64."""
        hop, frame_length = self.config.hop, self.config.frame_length
        (batch, samples), device = waveform.shape, waveform.device
        lengths = torch.full((batch,), samples, device=device) if lengths is None else lengths.clamp(max=samples)
        padded = F.pad(waveform, (frame_length // 2, frame_length // 2))
        frames, blocks_per_frame = samples // hop + 1, frame_length // hop
        count = frames + blocks_per_frame - 1
        if torch.compiler.is_exporting():  # a slice would fix the number of samples in the graph
            blocks = padded[:, torch.arange(count, device=device)[:, None] * hop + torch.arange(hop, device=device)]
        else:
            blocks = padded[:, : count * hop].unflatten(1, (-1, hop))
        blocks = blocks.float().square().sum(dim=2)  # [B, count]
        power = blocks.unfold(1, blocks_per_frame, 1).sum(dim=2) / frame_length  # [B, frames]
        loudness = 10.0 * power.clamp(min=_SMALLEST_POWER).log10()
        is_frame = torch.arange(frames, device=device) <= (lengths // hop)[:, None]  # as librosa counts them
        peak = loudness.masked_fill(~is_frame, -torch.inf).amax(dim=1, keepdim=True)
        sounds = (loudness - peak > -self.config.top_db) & is_frame
        first = sounds.int().argmax(dim=1)
        last = frames - 1 - sounds.flip(1).int().argmax(dim=1)
        return first * hop, torch.minimum((last + 1) * hop, lengths)


def _repeated(clip: Tensor, size: int) -> Tensor:
    # again and again, one time in the centre; [T] -> [size], T at most size
    first = -((size - len(clip)) // 2) % len(clip)
    times = -(-(size - len(clip) + first) // len(clip))
    return torch.cat([clip[first:], *[clip] * times])[:size]
