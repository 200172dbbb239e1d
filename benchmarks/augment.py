"""Pitch shift, time stretch, noise, and the whole chain of a training clip; on every clip of the batch.

On a GPU what runs there gets 1,024 clips, and what runs on the processor 16. Baselines at their best: librosa knows
one ratio a call and goes clip by clip; torchaudio's time stretch and torch-audiomentations take the batch. torchaudio's
pitch shift, whose filters are huge, takes minutes a clip and is left out. The error of a pitch shift is the largest
distance of a shifted tone from where it should be, in cents; that of a time stretch the largest from where it was.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torchaudio
from torch import Tensor
from torch_audiomentations import AddColoredNoise
from torch_audiomentations import PitchShift as StockPitchShift

from benchmarks import baselines
from benchmarks.signals import SAMPLE_RATE, fading_noise, pitch_of, recordings, tones
from benchmarks.tables import TableForm
from benchmarks.timing import AGAINST_COLUMN, COST_COLUMNS, RATE_COLUMNS, Job, against, interleaved, quietly, rates
from ser_gpu.config import AugmentConfig, CnnConfig, ModelConfig
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.channel import AddNoise
from ser_gpu.stages.stretch import change_pitch_and_tempo, phase_vocoder

_COLUMNS = (
    ("competitor", "", "{}"),
    ("ratios", "ratios", "{}"),
    *RATE_COLUMNS,
    AGAINST_COLUMN,
)
_CENTS = ("error_cents", "error, cents", "{:.2f}")
_CLIPS = "16 clips of 3 s (1,024 on a GPU)"
_CHAIN = "Trim, pitch shift, time stretch, noise and log-mel of every clip"
TABLES = {
    "pitch_shift": TableForm(
        f"Pitch shift by up to 2 semitones, one thread, {_CLIPS}", (*_COLUMNS, _CENTS, *COST_COLUMNS)
    ),
    "time_stretch": TableForm(
        f"Time stretch by 0.87 to 1.15, one thread, {_CLIPS}", (*_COLUMNS, _CENTS, *COST_COLUMNS)
    ),
    "noise": TableForm(f"Noise at 5 to 40 dB, one thread, {_CLIPS}", (*_COLUMNS, *COST_COLUMNS)),
    "chain": TableForm(f"{_CHAIN}, one thread, 16 clips of 3 to 4.5 s (1,024 on a GPU)", (*_COLUMNS, *COST_COLUMNS)),
    "chain_processes": TableForm(f"{_CHAIN}, the whole processor", (*_COLUMNS, *COST_COLUMNS)),
    "vocoder": TableForm(
        "Phase vocoder, largest difference from torchaudio's in float64, of a spectrogram whose largest cell is 1",
        (("precision", "", "{}"), ("error", "error", "{:.1e}")),
    ),
}
_LOW, _HIGH, _SEMITONES = 0.87, 1.15, 2.0
_CLIP_BY_CLIP = "clip by clip"
_ON_PROCESSOR = 16


def run(job: Job) -> Iterator[tuple[str, list[dict]]]:
    """Rows of each table."""
    batch = job.of(2, 16, 1_024)
    waveforms = torch.from_numpy(fading_noise(min(batch, 64))).to(job.device).repeat(-(-batch // 64), 1)
    yield "pitch_shift", _table(job, _pitch_shifts(batch, job.device), waveforms, _pitch_error)
    yield "time_stretch", _table(job, _time_stretches(batch, job.device), waveforms, _stretch_error)
    yield "noise", _table(job, _noises(), waveforms)
    yield from _chains(job, batch)
    yield "vocoder", [_vocoder_error(dtype) for dtype in (torch.float64, torch.float32)]


def _table(job: Job, competitors: dict[str, tuple], waveforms: Tensor, error: Callable | None = None) -> list[dict]:
    """Time every competitor (which ratios it knows, its function, the ratios it is given) on the same waveforms."""
    given_to = {name: waveforms[:_ON_PROCESSOR] if _CLIP_BY_CLIP in name else waveforms for name in competitors}
    calls = {name: quietly(lambda f=f, x=given_to[name]: f(x)) for name, (_, f, _) in competitors.items()}
    times = interleaved(job, calls, threads=1)
    found = []
    for name, (kind, function, given) in competitors.items():
        row = {"competitor": name, "ratios": kind, **rates(times[name], len(given_to[name]))}
        if "note" not in row and error and given is not None:
            row["error_cents"] = error(function, given, waveforms.device)
        found.append(against(found[0] if found else row, row))
    return found


def _pitch_shifts(batch: int, device: torch.device) -> dict[str, tuple]:
    semitones = torch.linspace(-_SEMITONES, _SEMITONES, batch, device=device)
    pitch, steady = 2 ** (semitones / 12), torch.ones(batch, device=device)
    each = semitones.tolist()
    some = each[:: -(-batch // _ON_PROCESSOR)]
    stock = StockPitchShift(-_SEMITONES, _SEMITONES, p=1.0, sample_rate=SAMPLE_RATE, output_type="dict")

    def ours(x: Tensor) -> Tensor:
        return change_pitch_and_tempo(x, pitch, steady, longest=2 ** (_SEMITONES / 12))

    def librosas(x: Tensor) -> list[np.ndarray]:
        return [baselines.pitch_shift(clip, by, SAMPLE_RATE) for clip, by in zip(x.cpu().numpy(), some, strict=True)]

    return {
        "ser_gpu": ("any, one a clip", ours, each),
        "torch-audiomentations": ("two, one a clip", lambda x: stock(x.unsqueeze(1)).samples.squeeze(1), None),
        "librosa, clip by clip": ("any", librosas, some),
    }


def _time_stretches(batch: int, device: torch.device) -> dict[str, tuple]:
    tempo, steady = torch.linspace(_LOW, _HIGH, batch, device=device), torch.ones(batch, device=device)
    each = tempo.tolist()
    some = each[:: -(-batch // _ON_PROCESSOR)]
    window = torch.hann_window(1024, device=device)
    theirs = torchaudio.transforms.TimeStretch(hop_length=256, n_freq=513).to(device)

    def ours(x: Tensor) -> Tensor:
        return change_pitch_and_tempo(x, steady, tempo, longest=1 / _LOW)

    def torchaudios(x: Tensor) -> Tensor:
        spectrogram = torch.stft(x, 1024, 256, window=window, return_complex=True)
        return torch.istft(theirs(spectrogram, each[0]), 1024, 256, window=window)

    def librosas(x: Tensor) -> list[np.ndarray]:
        return [baselines.time_stretch(clip, by) for clip, by in zip(x.cpu().numpy(), some, strict=True)]

    return {
        "ser_gpu": ("any, one a clip", ours, [0.0] * batch),
        "torchaudio, batched": ("one for the batch", torchaudios, [0.0] * batch),
        "librosa, clip by clip": ("any", librosas, [0.0] * len(some)),
    }


def _noises() -> dict[str, tuple]:
    ours = AddNoise(AugmentConfig(noise_probability=1.0), SAMPLE_RATE)
    stock = AddColoredNoise(5.0, 40.0, 0.0, 1.0, p=1.0, sample_rate=SAMPLE_RATE, output_type="dict")
    generator = np.random.default_rng(0)
    return {
        "ser_gpu": ("any colour, fresh", lambda x: ours(x.unsqueeze(1)).samples, None),
        "torch-audiomentations": ("any colour, one second repeated", lambda x: stock(x.unsqueeze(1)).samples, None),
        "numpy, clip by clip": (
            "white",
            lambda x: [baselines.add_noise(clip, 20.0, generator) for clip in x.cpu().numpy()],
            None,
        ),
    }


def _chains(job: Job, batch: int) -> Iterator[tuple[str, list[dict]]]:
    """The chain in one thread, and on the whole processor, where librosa has a process for each core."""
    config = ModelConfig(
        augment=AugmentConfig(
            warp="waveform",
            speed_probability=0.0,
            shift_probability=0.0,
            pitch_probability=1.0,
            pitch_semitones=2.0,
            stretch_probability=1.0,
            noise_probability=1.0,
            max_noise_decay=0.0,
        ),
        cnn=CnnConfig(members=1),
    )
    clips, lengths = recordings(min(batch, 256))
    arrays = [clip[:length].numpy() for clip, length in zip(clips, lengths, strict=True)]
    times = -(-batch // len(clips))
    resident, resident_lengths = clips.repeat(times, 1).to(job.device), lengths.repeat(times).to(job.device)
    model = SpeechEmotionModel(config).to(job.device).train()
    ours = quietly(lambda: model.spectrogram(resident / 32_768, resident_lengths))
    seeded = [(arrays[seed % len(arrays)], seed) for seed in range(min(batch, _ON_PROCESSOR) * job.processes)]
    some = seeded[: min(batch, _ON_PROCESSOR)]
    librosas = {f"librosa, {_CLIP_BY_CLIP}": lambda: [baselines.augmented_features(*each, config) for each in some]}
    pooled = f"librosa in {job.processes} processes"
    with baselines.Workers(job.processes, job.dry) as workers:
        pool = {pooled: lambda: workers.map(baselines.augmented_features_of, seeded, config=config)}
        yield "chain_processes", _chain(job, {"ser_gpu": ours} | pool, (len(resident), len(seeded)), job.processes)
    yield "chain", _chain(job, {"ser_gpu": ours} | librosas, (len(resident), len(some)), 1)


def _chain(job: Job, calls: dict[str, Callable], clips: tuple[int, int], threads: int) -> list[dict]:
    """Ours and a baseline; `clips` that a call of each prepares."""
    found = []
    for (name, taken), count in zip(interleaved(job, calls, threads).items(), clips, strict=True):
        row = {"competitor": name, "ratios": "any, one a clip", **rates(taken, count)}
        found.append(against(found[0] if found else row, row))
    return found


def _pitch_error(shift: Callable, semitones: list[float], device: torch.device) -> float:
    shifted = quietly(lambda: shift(tones(440.0, len(semitones)).to(device)))()
    some = range(0, len(semitones), -(-len(semitones) // 64))
    return max(abs(1200 * math.log2(pitch_of(_numpy(shifted[i])) / (440.0 * 2 ** (semitones[i] / 12)))) for i in some)


_stretch_error = _pitch_error  # a stretch is a pitch shift by nothing


def _vocoder_error(dtype: torch.dtype) -> dict:
    waveform = torch.from_numpy(fading_noise(4)).to(dtype)
    window = torch.hann_window(1024, dtype=dtype)
    spectrogram = torch.stft(waveform, 1024, 256, window=window, return_complex=True)
    spectrogram /= spectrogram.abs().max()
    # the expected advance of bin k at this hop is k quarter turns; whole turns left in it cost torchaudio two digits
    advance = (torch.arange(513, dtype=torch.float64) % 4 * math.pi / 2)[:, None]
    error = 0.0
    for rate in (0.87, 1.0, 1.15):
        theirs = torchaudio.functional.phase_vocoder(spectrogram.to(torch.complex128), rate, advance)
        ours = phase_vocoder(spectrogram, torch.full((4,), rate, dtype=torch.float64), theirs.shape[-1])
        error = max(error, float((ours - theirs).abs().max()))
    return {"precision": str(dtype).removeprefix("torch."), "error": error}


def _numpy(waveform) -> np.ndarray:
    return waveform.cpu().numpy() if isinstance(waveform, Tensor) else waveform
