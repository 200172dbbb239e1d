"""The same model by torch, onnxruntime and torch.export: clips a second, distance from torch, size, cold start."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import ser_gpu
from benchmarks.signals import SAMPLE_RATE
from benchmarks.tables import TableForm
from benchmarks.timing import RATE_COLUMNS, interleaved, quietly, rates
from ser_gpu import checkpoint
from ser_gpu.exports import onnx as export
from ser_gpu.model import SpeechEmotionModel

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "examples" / "sample.wav"
SECONDS = 3
TABLES = {
    "runtime": TableForm(
        "Clips of 3 s to probabilities, with test-time augmentation, one core of the processor",
        (
            ("competitor", "", "{}"),
            ("batch", "batch", "{:,}"),
            *RATE_COLUMNS,
            ("error", "from torch", "{:.0e}"),
            ("megabytes", "file, MB", "{:.1f}"),
        ),
    ),
    "process": TableForm(
        "One file as a whole process, start included: milliseconds",
        (("way", "", "{}"), ("median_ms", "median", "{:,.0f}"), ("fastest_ms", "fastest", "{:,.0f}")),
    ),
}
_ONNX = "from ser_gpu.onnx import OnnxModel; print(OnnxModel({path!r}).predict({sample!r}))"
_TORCH = "import ser_gpu; print(ser_gpu.load_model(device='cpu').predict({sample!r}))"


def run(device: torch.device, quick: bool, processes: int) -> dict[str, list[dict]]:
    """Rows of each table; all of it on the processor, whatever the device."""
    model = ser_gpu.load_model(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        paths = {"onnxruntime": Path(folder) / "model.onnx", "torch.export": Path(folder) / "model.pt2"}
        export.to_onnx(model, paths["onnxruntime"])
        export.to_pt2(model, paths["torch.export"])
        if not quick:
            paths["onnxruntime, with voices"] = Path(folder) / "speaker.onnx"
            export.to_onnx(model, paths["onnxruntime, with voices"], speaker=True)
        paths["torch"] = checkpoint.weights_file()
        batches = (1, 4) if quick else (1, 32)
        rows = [row for batch in batches for row in _rows(model, paths, batch, quick)]
        return {"runtime": rows, "process": _processes(paths["onnxruntime"], 1 if quick else 11)}


def _rows(model: SpeechEmotionModel, paths: dict[str, Path], batch: int, quick: bool) -> list[dict]:
    noise = torch.randn(batch, SECONDS * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    waveform = noise * torch.linspace(0, 1, noise.shape[1])
    calls = {name: _call(model, name, path, waveform) for name, path in paths.items()}
    expected = calls["torch"]()
    times = interleaved(calls, threads=1, rounds=2 if quick else 9, seconds=0.1 if quick else 1.0)
    return [
        {
            "competitor": name,
            "batch": batch,
            "error": float(np.abs(np.asarray(calls[name]()) - np.asarray(expected)).max()),
            "megabytes": path.stat().st_size / 1e6,
            **rates(times[name], batch),
        }
        for name, path in paths.items()
    ]


def _call(model: SpeechEmotionModel, name: str, path: Path, waveform: torch.Tensor) -> Callable[[], object]:
    if name == "torch":
        return quietly(lambda: model.probabilities(model(waveform)))
    if name == "torch.export":
        program = torch.export.load(path).module()
        return quietly(lambda: program(waveform)[0])
    from ser_gpu.onnx import OnnxModel

    session, samples = OnnxModel(path, threads=1), waveform.numpy()
    return lambda: session.probabilities(samples)[0]


def _processes(onnx: Path, rounds: int) -> list[dict]:
    scripts = {
        "ser_gpu.load_model, torch": _TORCH.format(sample=str(SAMPLE)),
        "ser_gpu.onnx.OnnxModel, onnxruntime": _ONNX.format(path=str(onnx), sample=str(SAMPLE)),
    }
    taken: dict[str, list[float]] = {name: [] for name in scripts}
    for turn in range(rounds + 1):
        for name, script in scripts.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
            if turn > 0:
                taken[name].append(1000 * (time.perf_counter() - start))
    return [
        {"way": name, "median_ms": float(np.median(times)), "fastest_ms": min(times)} for name, times in taken.items()
    ]
