"""The page that names emotions in the browser: its own files, onnxruntime-web, and the model as ONNX."""

import hashlib
import shutil
from pathlib import Path

import numpy as np

from ser_gpu import __version__, checkpoint
from ser_gpu.audio import silero
from ser_gpu.errors import InputError, extra
from ser_gpu.exports import onnx
from ser_gpu.files import read_json, replacing, write_json
from ser_gpu.stages import speaker_norm
from ser_gpu.timeline.cuts import TimelineSettings
from ser_gpu.voices import plan

PACKAGE = Path(__file__).parent.parent
SAMPLE = PACKAGE.parent / "examples" / "sample.wav"
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
DETECTOR = "silero_vad_16k_sequence.onnx"  # takes all frames at once, as ser_gpu.audio.silero does


def page_folder() -> Path:
    """The page's own files: inside the package in a wheel, beside it in a checkout."""
    installed = PACKAGE / "page"
    return installed if installed.is_dir() else PACKAGE.parent / "app"


def runtime_folder() -> Path:
    """The files of onnxruntime-web, after `npm ci`."""
    return page_folder() / "node_modules" / "onnxruntime-web" / "dist"


def site_folder() -> Path:
    """Where `ser-gpu app` writes the page that it serves."""
    is_installed = page_folder().parent == PACKAGE
    return Path.home() / ".cache" / "ser_gpu" / "app" if is_installed else PACKAGE.parent / "build" / "app"


def build(folder: str | Path, weights: str | Path | None = None, tta: bool = True) -> Path:
    """Write the page, onnxruntime-web and the model; the same model is not exported again.

    Raises InputError where onnxruntime-web is not installed, and as `ser_gpu.exports.onnx.to_onnx` does.
    """
    folder, weights = Path(folder), Path(weights or checkpoint.default_weights())
    source, runtime = page_folder(), runtime_folder()
    if not all((runtime / name).is_file() for name in RUNTIME_FILES):
        raise InputError(f"{runtime}: onnxruntime-web is not installed: run npm ci in {source}")
    (folder / "ort").mkdir(parents=True, exist_ok=True)
    sample = [SAMPLE] if SAMPLE.is_file() else []
    for path in (*source.glob("*.html"), *source.glob("*.css"), *source.glob("*.js"), *sample):
        shutil.copy(path, folder / path.name)
    for name in RUNTIME_FILES:
        shutil.copy(runtime / name, folder / "ort" / name)
    _write_detector(folder / "speech.onnx")
    _write_model(folder, weights, tta)
    return folder


def _write_model(folder: Path, weights: Path, tta: bool) -> None:
    model, provenance = checkpoint.load(weights, "cpu")
    speaker = None
    if speaker_norm.layers(model.cnn):  # only such a network takes a voice
        speaker = {
            "network": model.network_hash,
            "population": onnx.population(model),
            "head": list(onnx.no_head(model).shape),
            "population_windows": plan.POPULATION_WINDOWS,
            "population_windows_one_emotion": plan.POPULATION_WINDOWS_ONE_EMOTION,
            "sharpening": plan.SHARPENING,
            "helpful_windows": plan.HELPFUL_WINDOWS,
            "alike_share": plan.ALIKE_SHARE,
            "fewest_alike": plan.FEWEST_ALIKE,
        }
    about = {
        "name": weights.name,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "licence": onnx.licence_of(weights, provenance),
        "ser_gpu": __version__,
        "tta": tta,
        "labels": list(model.labels),
        "sample_rate": model.sample_rate,
        "window_samples": model.config.audio.clip_samples,
        "trim": vars(model.config.trim),
        "mel": vars(model.config.mel),
        "timeline": vars(TimelineSettings()),
        "speaker": speaker,
        "sample": SAMPLE.is_file(),
    }
    description = folder / "model.json"
    if (folder / "model.onnx").is_file() and description.is_file() and read_json(description) == about:
        return
    description.unlink(missing_ok=True)
    settings = {name: about[name] for name in ("tta", "licence", "sha256")}
    onnx.to_onnx(model, folder / "model.onnx", **settings, speaker=speaker is not None)
    write_json(description, about)  # last, so that what it describes exists


def _write_detector(path: Path) -> None:
    # silero-vad's graph holds weights of another training: those of `ser_gpu.audio.silero` replace them
    library = extra("onnx", "export")
    proto = library.load(silero.data_folder() / DETECTOR)
    weights = silero.load_weights()
    places = {f"encoder.{i}.{kind}": weights[f"conv{i + 1}.{kind}"] for i in range(4) for kind in ("weight", "bias")}
    places |= {f"output.{kind}": weights[f"final_conv.{kind}"] for kind in ("weight", "bias")}
    (lstm,) = (node for node in proto.graph.node if node.op_type == "LSTM")
    # order of the gates: torch input, forget, cell, output; ONNX input, output, forget, cell
    gates = np.arange(len(weights["lstm_cell.bias_ih"])).reshape(4, -1)[[0, 3, 1, 2]].ravel()
    cell = [weights[f"lstm_cell.{name}"][gates] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    places |= dict(zip(lstm.input[1:4], (cell[0][None], cell[1][None], np.concatenate(cell[2:])[None]), strict=True))
    for each in (each for each in proto.graph.initializer if each.name in places):
        each.CopyFrom(library.numpy_helper.from_array(places[each.name], each.name))
    library.checker.check_model(proto, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
