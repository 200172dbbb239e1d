"""The same model by torch, onnxruntime and torch.export: clips a second, distance from torch, size, cold start."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

import ser_gpu
from benchmarks.signals import SAMPLE_RATE, SECONDS
from benchmarks.start import SAMPLE, rows, subprocess_run
from benchmarks.tables import TableForm
from benchmarks.timing import RATE_COLUMNS, Job, interleaved, quietly, rates
from ser_gpu import checkpoint
from ser_gpu.exports import onnx as export
from ser_gpu.model import SpeechEmotionModel

TABLES = {
    "runtime": TableForm(
        "Clips of 3 s to probabilities, the default model as it is exported, one core of the processor",
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


def run(job: Job) -> Iterator[tuple[str, list[dict]]]:
    """Rows of each table; all of it on the processor, whatever the device."""
    model = ser_gpu.load_model(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        paths = {"onnxruntime": Path(folder) / "model.onnx", "torch.export": Path(folder) / "model.pt2"}
        export.to_onnx(model, paths["onnxruntime"])
        export.to_pt2(model, paths["torch.export"])
        if not job.dry:
            paths["onnxruntime, with voices"] = Path(folder) / "speaker.onnx"
            export.to_onnx(model, paths["onnxruntime, with voices"], speaker=True)
        paths["torch"] = checkpoint.weights_file()
        for batch in (1, 4) if job.dry else (1, 32):
            yield "runtime", _rows(job, model, paths, batch)
        scripts = {
            "ser_gpu.load_model, torch": _TORCH.format(sample=str(SAMPLE)),
            "ser_gpu.onnx.OnnxModel, onnxruntime": _ONNX.format(path=str(paths["onnxruntime"]), sample=str(SAMPLE)),
        }
        calls = {name: lambda given=script: subprocess_run(["-c", given]) for name, script in scripts.items()}
        yield "process", rows(calls, job.of(1, 11, 11))


def _rows(job: Job, model: SpeechEmotionModel, paths: dict[str, Path], batch: int) -> list[dict]:
    noise = torch.randn(batch, SECONDS * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    waveform = noise * torch.linspace(0, 1, noise.shape[1])
    calls = {name: _call(model, name, path, waveform) for name, path in paths.items()}
    expected = calls["torch"]()
    times = interleaved(Job(torch.device("cpu"), job.dry), calls, threads=1, seconds=1.0)
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
