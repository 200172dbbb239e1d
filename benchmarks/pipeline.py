"""From recorded samples to probabilities: everything on the device, against librosa in processes before the same CNN.

Clips are decoded and resident on both sides; what decoding and the upload cost is a table of its own. The error is the
largest difference of a probability from that of librosa's features.
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import soundfile
import torch

import ser_gpu
from benchmarks import baselines
from benchmarks.signals import SAMPLE_RATE, recordings
from benchmarks.tables import TableForm
from benchmarks.timing import RATE_COLUMNS, interleaved, quietly, rates, rounds_on
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.prepared import trains_in_bfloat16

TABLES = {
    "waveform_to_probabilities": TableForm(
        "Waveform to probabilities, the whole processor, clips of 3.0 to 4.5 s",
        (
            ("competitor", "", "{}"),
            ("batch", "batch", "{:,}"),
            *RATE_COLUMNS,
            ("ours_against", "ser_gpu, times as fast", "{:.2f}"),
            ("error", "error", "{:.1e}"),
        ),
    ),
    "before": TableForm(
        "What comes before, and is in neither",
        (("step", "", "{}"), ("clips_per_second", "clips/s", "{:,.0f}")),
    ),
}


def run(device: torch.device, quick: bool, processes: int) -> dict[str, list[dict]]:
    """Rows of each table."""
    clips, lengths = recordings(8 if quick else 1_024 if device.type == "cuda" else 256)
    return {
        "waveform_to_probabilities": _pipelines(clips, lengths, device, quick, processes),
        "before": _before(clips[:32], lengths[:32], device),
    }


def _pipelines(clips, lengths, device: torch.device, quick: bool, processes: int) -> list[dict]:
    model = ser_gpu.load_model(device=device)
    waveforms = [clip[:length] for clip, length in zip(clips, lengths, strict=True)]
    bank = ClipBank.from_waveforms(waveforms, SAMPLE_RATE).to(device)
    arrays = [waveform.numpy() for waveform in waveforms]
    size = 64 if device.type == "cpu" else 1024
    calls = {"ser_gpu": quietly(lambda: _ours(model, bank, size, bfloat16=False))}
    if trains_in_bfloat16(device):
        calls["ser_gpu, CNN in bfloat16"] = quietly(lambda: _ours(model, bank, size, bfloat16=True))
    if device.type == "cuda":
        compiled = ser_gpu.load_model(device=device)
        compiled.compile()
        calls["ser_gpu, CNN in bfloat16, compiled"] = quietly(lambda: _ours(compiled, bank, size, bfloat16=True))
    counts = sorted({1, *(2**k for k in range(1, 10) if 2**k < processes), processes})
    with ExitStack() as pools:
        for count in counts:
            pool = pools.enter_context(baselines.Workers(count, quick))
            name = f"librosa in {count} process{'es' if count > 1 else ''}, then the same CNN"
            calls[name] = quietly(lambda pool=pool: _theirs(model, pool, arrays, size))
        times = interleaved(
            calls, torch.get_num_threads(), rounds=rounds_on(device, quick), seconds=0.02 if quick else 0.5
        )
        expected = next(reversed(calls.values()))()
        errors = {name: float((call() - expected).abs().max()) for name, call in calls.items()}
    return [
        {
            "competitor": name,
            "batch": size,
            **rates(times[name], len(clips)),
            "ours_against": times[name]["median_s"] / times["ser_gpu"]["median_s"],
            "error": errors[name],
        }
        for name in calls
    ]


def _ours(model: SpeechEmotionModel, bank: ClipBank, size: int, bfloat16: bool) -> torch.Tensor:
    with torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16):
        parts = torch.arange(len(bank), device=model.device).split(size)
        return torch.cat([model.probabilities(model(*bank.batch(part), tta=False)) for part in parts]).cpu()


def _theirs(model: SpeechEmotionModel, pool: baselines.Workers, clips: list[np.ndarray], size: int) -> torch.Tensor:
    features = torch.from_numpy(pool.map(baselines.features, clips, config=model.config))
    parts = features.unsqueeze(1).split(size)
    return torch.cat([model.probabilities(model.cnn(part.to(model.device)).mean(dim=0)) for part in parts]).cpu()


def _before(clips, lengths, device: torch.device) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.wav" for i in range(len(clips))]
        for path, clip, length in zip(paths, clips, lengths, strict=True):
            soundfile.write(path, np.repeat(clip[:length].numpy(), 3), 3 * SAMPLE_RATE)
        start = time.perf_counter()
        ClipBank.read(paths, SAMPLE_RATE)
        rows = [{"step": "decode 48 kHz WAV and resample to 16 kHz", "clips_per_second": _rate(clips, start)}]
    if device.type == "cuda":
        torch.cuda.synchronize()
        start = time.perf_counter()
        clips.to(device)
        torch.cuda.synchronize()
        rows.append({"step": "upload as int16", "clips_per_second": _rate(clips, start)})
    return rows


def _rate(clips, start: float) -> float:
    return len(clips) / (time.perf_counter() - start)
