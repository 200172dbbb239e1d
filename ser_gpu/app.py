"""ser-gpu app: a page that names emotions in the browser, served here or written for any static host.

The page's own files are in `app/` of the repository, or in the installed package; onnxruntime-web comes from `npm ci`
there.
"""

import argparse
import hashlib
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from ser_gpu import __version__, checkpoint, export
from ser_gpu.audio import silero
from ser_gpu.cli import console, options
from ser_gpu.errors import InputError, extra
from ser_gpu.files import read_json, replacing, write_json
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages import speaker_norm
from ser_gpu.timeline.cuts import TimelineSettings
from ser_gpu.voices import plan

PACKAGE = Path(__file__).resolve().parent
IS_INSTALLED = (PACKAGE / "page").is_dir()
PAGE = PACKAGE / "page" if IS_INSTALLED else PACKAGE.parent / "app"
SAMPLE = PACKAGE.parent / "examples" / "sample.wav"
RUNTIME = PAGE / "node_modules" / "onnxruntime-web" / "dist"
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
DETECTOR = "silero_vad_16k_sequence.onnx"  # of speech: it takes all frames at once, as ser_gpu.audio.silero does
_GATES = (0, 3, 1, 2)  # of an LSTM: torch has input, forget, cell, output; ONNX input, output, forget, cell
SITE = Path.home() / ".cache" / "ser_gpu" / "app" if IS_INSTALLED else PACKAGE.parent / "build" / "app"
# without these a browser gives the page one thread
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",
}


def build(folder: str | Path, weights: str | Path | None = None, tta: bool = True) -> Path:
    """Write the page, onnxruntime-web and the model; a model that is there and the same is kept.

    Args:
        weights: checkpoint; None, the one that comes with the package.
        tta: test-time augmentation.

    Raises:
        ValueError: onnxruntime-web or silero-vad is not there; or as in `ser_gpu.export.to_onnx`.
        CheckpointError: the checkpoint cannot be used.
    """
    folder, weights = Path(folder), Path(weights or checkpoint.default_weights())
    if not all((RUNTIME / name).is_file() for name in RUNTIME_FILES):
        raise InputError(f"{RUNTIME}: onnxruntime-web is not installed: run npm ci in {PAGE}")
    (folder / "ort").mkdir(parents=True, exist_ok=True)
    sample = [SAMPLE] if SAMPLE.is_file() else []
    for path in (*PAGE.glob("*.html"), *PAGE.glob("*.css"), *PAGE.glob("*.js"), *sample):
        shutil.copy(path, folder / path.name)
    for name in RUNTIME_FILES:
        shutil.copy(RUNTIME / name, folder / "ort" / name)
    _write_detector(folder / "speech.onnx")
    _write_model(folder, weights, tta)
    return folder


def _write_model(folder: Path, weights: Path, tta: bool) -> None:
    model, provenance = checkpoint.load(weights, "cpu")
    about = {
        "name": weights.name,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "licence": export.licence_of(weights, provenance),
        "ser_gpu": __version__,
        "tta": tta,
        "labels": list(model.labels),
        "sample_rate": model.sample_rate,
        "window_samples": model.config.audio.clip_samples,
        "trim": vars(model.config.trim),
        "mel": vars(model.config.mel),
        "timeline": vars(TimelineSettings()),
        "speaker": _speaker(model),
        "sample": SAMPLE.is_file(),
    }
    description = folder / "model.json"
    if (folder / "model.onnx").is_file() and description.is_file():
        if read_json(description) == about:
            return
        description.unlink()
    with console.err.status("Exporting the model"), export.quiet_exporter():
        settings = {"tta": tta, "dft": "conv", "licence": about["licence"], "sha256": about["sha256"]}
        export.to_onnx(model, folder / "model.onnx", **settings, speaker=about["speaker"] is not None)
    write_json(description, about)  # last: what it describes is there


def _write_detector(path: Path) -> None:
    """silero-vad's graph with the weights of `ser_gpu.audio.silero`; those in the graph are of another training."""
    onnx = extra("onnx", "export")
    proto = onnx.load(silero.data_folder() / DETECTOR)
    weights = silero.load_weights()
    places = {f"encoder.{i}.{kind}": weights[f"conv{i + 1}.{kind}"] for i in range(4) for kind in ("weight", "bias")}
    places |= {f"output.{kind}": weights[f"final_conv.{kind}"] for kind in ("weight", "bias")}
    (lstm,) = (node for node in proto.graph.node if node.op_type == "LSTM")
    cell = {name: _by_gate(weights[f"lstm_cell.{name}"]) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    biases = np.concatenate([cell["bias_ih"], cell["bias_hh"]])
    places |= dict(zip(lstm.input[1:4], (cell["weight_ih"][None], cell["weight_hh"][None], biases[None]), strict=True))
    used = {name for node in proto.graph.node for name in node.input}
    kept = [each for each in proto.graph.initializer if each.name in used]
    del proto.graph.initializer[:]
    for each in kept:
        values = places.get(each.name)
        proto.graph.initializer.append(each if values is None else onnx.numpy_helper.from_array(values, each.name))
    onnx.checker.check_model(proto, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))


def _by_gate(values: np.ndarray) -> np.ndarray:
    """Shape: [4 H, ...] -> [4 H, ...]."""
    return np.concatenate([np.split(values, 4)[gate] for gate in _GATES])


def _speaker(model: SpeechEmotionModel) -> dict | None:
    """What the page needs to learn a voice; None where the network takes none."""
    if not speaker_norm.layers(model.cnn):
        return None
    return {
        "network": model.network_hash,
        "population": export.population(model),
        "head": list(export.no_head(model).shape),
        "population_windows": plan.POPULATION_WINDOWS,
        "population_windows_one_emotion": plan.POPULATION_WINDOWS_ONE_EMOTION,
        "sharpening": plan.SHARPENING,
        "helpful_windows": plan.HELPFUL_WINDOWS,
        "alike_share": plan.ALIKE_SHARE,
        "fewest_alike": plan.FEWEST_ALIKE,
    }


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder with the headers that threads need."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
    }

    def end_headers(self) -> None:
        """Add them to every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server on this machine alone; port 0 is any that is free.

    Raises:
        OSError: the port is not free.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(f"--port {port}: {reason}; another --port, such as 0, may be free") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, write the page, and serve it."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Write the page; without --out serve it until Ctrl-C."""
    if not 0 <= args.port < 2**16:
        raise InputError(f"--port must be between 0 and 65535, got {args.port}")
    folder = build(args.out or SITE, args.weights, args.tta)
    if args.out:
        console.err.print(f"written: {folder}; serve it from localhost or https")
        return options.DONE
    with server(folder, args.port) as page:
        print(f"http://localhost:{page.server_port}/ (Ctrl-C ends it)", flush=True)
        page.serve_forever()
    return options.DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ser-gpu app", description="A page that names the emotion of a voice in the browser; no audio leaves it."
    )
    add = parser.add_argument
    add("--weights", help="checkpoint (default: the shipped one)")
    add("--port", type=int, default=8_000, help="of the page on localhost, 0 for any (default: %(default)s)")
    add("--out", metavar="DIR", help="write the page for any static host instead of serving it")
    add("--tta", action=argparse.BooleanOptionalAction, default=True, help="test-time augmentation (default: yes)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
