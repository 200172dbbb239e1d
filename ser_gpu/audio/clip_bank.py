"""All clips of a data set, decoded once and resident on a device; a batch is an index."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ser_gpu.audio.samples import SHORTEST_SECONDS, load, resample
from ser_gpu.audio.silero import SpeechProbability, speaks

INT16_SCALE = 32_768.0


@dataclass(eq=False)
class ClipBank:
    """Clips one behind the other in one buffer of int16, so that a long clip pads no other."""

    samples: Tensor  # [sum of all T, then as many zeros as the longest clip has samples] int16
    offsets: Tensor  # [N] int64, where each clip starts
    lengths: Tensor  # [N] int64, samples of each clip
    sample_rate: int  # Hz
    longest: int  # samples of the longest clip

    @classmethod
    def read(cls, paths: Sequence[str | Path], sample_rate: int, on_clip: Callable = lambda: None) -> "ClipBank":
        """Decode files in parallel, with a call of `on_clip` after each; AudioError of the first unreadable one."""

        def decode(path: str | Path) -> Tensor:
            waveform = as_int16(load(path, sample_rate))
            on_clip()
            return waveform

        with ThreadPoolExecutor() as pool:
            return cls.from_waveforms([*pool.map(decode, paths)], sample_rate)

    @classmethod
    def from_waveforms(cls, waveforms: Sequence[Tensor], sample_rate: int) -> "ClipBank":
        """A bank of clips that are in memory. Shape: [T] each, int16, or floating point from -1 to 1."""
        clips = [clip if clip.dtype == torch.int16 else as_int16(clip) for clip in waveforms]
        lengths = torch.tensor([len(clip) for clip in clips], dtype=torch.int64)
        longest = max(map(len, clips), default=0)
        samples = torch.cat([*clips, torch.zeros(longest, dtype=torch.int16)])
        return cls(samples, lengths.cumsum(0) - lengths, lengths, sample_rate, longest)

    def to(self, device: torch.device | str) -> "ClipBank":
        """The same clips on another device."""
        moved = (tensor.to(device) for tensor in (self.samples, self.offsets, self.lengths))
        return ClipBank(*moved, self.sample_rate, self.longest)

    def __len__(self) -> int:
        return len(self.lengths)

    def part(self, rows: Tensor, spans: Tensor | None = None) -> "ClipBank":
        """Some clips, or stretches of them, in the same buffer. Shape: [N] int64, [N, 2] seconds, float64."""
        starts, lengths = torch.zeros_like(rows), self.lengths[rows]
        if spans is not None:
            starts, ends = (spans * self.sample_rate).round().minimum(lengths[:, None]).long().unbind(dim=1)
            lengths = ends - starts
        longest = max(lengths.tolist(), default=0)
        return ClipBank(self.samples, self.offsets[rows] + starts, lengths, self.sample_rate, longest)

    def without_speech(self) -> int:
        """In how many clips the voice detector hears nobody."""
        waveforms = (self.waveform(row).numpy() for row in range(len(self)))
        heard = (resample(each, self.sample_rate, SpeechProbability.sample_rate) for each in waveforms)
        return sum(not speaks(each[None])[0] for each in heard)

    def usable(self) -> Tensor:
        """Which clips can be trained on and scored: those with a sound, and of 50 ms or more. Shape: -> [N] bool."""
        shortest = SHORTEST_SECONDS * self.sample_rate
        lengths = enumerate(self.lengths.tolist())
        usable = [length >= shortest and bool(self.waveform(row).any()) for row, length in lengths]
        return torch.tensor(usable, dtype=torch.bool, device=self.lengths.device)

    def waveform(self, index: int) -> Tensor:
        """One clip. Shape: -> [T] float32."""
        start = int(self.offsets[index])
        return self.samples[start : start + int(self.lengths[index])] / INT16_SCALE

    def batch(self, index: Tensor, most: int | None = None, random: bool = False) -> tuple[Tensor, Tensor]:
        """As `rows`, between -1 and 1, with zeros behind each clip. Shape: [B] -> [B, T] float32, [B] int64."""
        rows, lengths = self.rows(index, most, random)
        inside = torch.arange(rows.shape[1], device=rows.device) < lengths[:, None]
        return torch.where(inside, rows / INT16_SCALE, 0.0), lengths

    def rows(self, index: Tensor, most: int | None = None, random: bool = False) -> tuple[Tensor, Tensor]:
        """Samples as they are stored, with those of other clips behind them, and lengths; a clip of more than `most`
        samples gives its centre, or a random stretch. `index` is on the bank's device; nothing waits for that device.
        Shape: [B] int64 -> [B, T] int16, [B] int64, T = `most` or the samples of the longest clip, if fewer."""
        size = self.longest if most is None else min(most, self.longest)
        lengths = self.lengths[index]
        spare = (lengths - size).clamp(min=0)
        skipped = spare // 2
        if random:
            skipped = (torch.rand(len(index), dtype=torch.float64, device=spare.device) * (spare + 1)).long()
        # every stretch of the buffer, as a view; the rows of a batch are copied out of it
        return self.samples.unfold(0, size, 1)[self.offsets[index] + skipped], lengths.clamp(max=size)


def as_int16(waveform: Tensor) -> Tensor:
    """From -1 to 1, rounded. Shape: any floating point -> the same, int16."""
    return (waveform * INT16_SCALE).round().clamp(-INT16_SCALE, INT16_SCALE - 1).to(torch.int16)
