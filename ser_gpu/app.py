"""ser-gpu app: a page that names emotions in the browser, served here or written for any static host.

The page's own files are in `app/` of the repository, and onnxruntime-web comes from `npm ci` there.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ser_gpu import checkpoint, export
from ser_gpu.cli import common, console
from ser_gpu.files import write_json
from ser_gpu.version import __version__

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "app"
RUNTIME = PAGE / "node_modules" / "onnxruntime-web" / "dist"
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
SITE = ROOT / "build" / "app"
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
        ValueError: the page's files or onnxruntime-web are not there; or as in `ser_gpu.export.to_onnx`.
        CheckpointError: the checkpoint cannot be used.
    """
    folder, weights = Path(folder), Path(weights or checkpoint.default_weights())
    if not (PAGE / "index.html").is_file():
        raise ValueError(f"{PAGE}: the page is not there; it comes with the repository, not with the package")
    if not all((RUNTIME / name).is_file() for name in RUNTIME_FILES):
        raise ValueError(f"{RUNTIME}: onnxruntime-web is not installed: run npm ci in {PAGE}")
    (folder / "ort").mkdir(parents=True, exist_ok=True)
    for path in (*PAGE.glob("*.html"), *PAGE.glob("*.css"), *PAGE.glob("*.js"), ROOT / "examples" / "sample.wav"):
        shutil.copy(path, folder / path.name)
    for name in RUNTIME_FILES:
        shutil.copy(RUNTIME / name, folder / "ort" / name)
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
    }
    description = folder / "model.json"
    if (folder / "model.onnx").is_file() and description.is_file():
        if json.loads(description.read_text(encoding="utf-8")) == about:
            return
        description.unlink()
    with console.err.status("Exporting the model"), export.quiet_exporter():
        export.to_onnx(model, folder / "model.onnx", tta, "conv", about["licence"], about["sha256"])
    write_json(description, about)  # last: what it describes is there


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
    """A server on this machine alone; port 0 is any that is free."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, write the page, and serve it."""
    args = _parser().parse_args(arguments)
    return common.run(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Write the page; without --out serve it until Ctrl-C."""
    folder = build(args.out or SITE, args.weights, args.tta)
    if args.out:
        console.err.print(f"written: {folder}; serve it from localhost or https")
        return common.DONE
    with server(folder, args.port) as page:
        print(f"http://localhost:{page.server_port}/ (Ctrl-C ends it)", flush=True)
        page.serve_forever()
    return common.DONE


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
