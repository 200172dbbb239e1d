"""ser-gpu export MODEL.pth MODEL.onnx: the whole model, waveform in and probabilities out, for other runtimes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ser_gpu import checkpoint
from ser_gpu.cli import console, options
from ser_gpu.errors import check, require
from ser_gpu.exports import onnx
from ser_gpu.files import sha256

_HUB_FILES = ("README.md", "config.json", "model.safetensors")
_NEEDED = {None: ("huggingface_hub", "safetensors"), ".onnx": ("onnx", "onnxscript", "onnxruntime")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and export."""
    about = "Write the whole model, waveform in and probabilities out, as one file."
    parser = options.Parser(prog="ser-gpu export", description=about)
    add = parser.add_argument_group("files").add_argument
    help = "a checkpoint, if it is not the shipped one, and the file to write: NAME.onnx or NAME.pt2"
    add("files", nargs="*", metavar="FILE", help=help)
    help = "write a folder for the Hugging Face Hub: model.safetensors, config.json, README.md"
    add("--hub", metavar="DIR", help=help)
    add = parser.add_argument_group("model").add_argument
    add("--tta", action=argparse.BooleanOptionalAction, default=True, help=options.TTA)
    add("--half", action="store_true", help="weights in 16 bits: half the size, probabilities differ by at most 2e-3")
    add("--speaker", action="store_true", help="a file that can enrol speakers, and answers with their voices")
    add("--licence", help="licence of the weights, for the metadata; that of what they learnt from is added")
    args = parser.parse_args(arguments)
    if not args.files and not args.hub:
        parser.error("name a file to write, .onnx or .pt2, or --hub DIR")
    if len(args.files) > 2 or (args.hub and len(args.files) > 1):
        parser.error(f"too many files: {' '.join(args.files)}")
    return options.run(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Write the file or folder, and one line on stderr about it."""
    *given, out = args.files if not args.hub else [*args.files, None]
    weights = checkpoint.weights_file(given[0] if given else None)
    suffix = None if args.hub else next((each for each in (".onnx", ".pt2") if out.lower().endswith(each)), "")
    check(suffix != "", f"{out}: the name must end in .onnx or .pt2")
    for option in ("speaker", "half"):
        check(not (getattr(args, option) and suffix != ".onnx"), f"--{option} is for an .onnx file")
    written = [Path(args.hub, name) for name in _HUB_FILES] if args.hub else Path(out)
    options.require_free({"--hub" if args.hub else "FILE": written}, [weights])
    require("export", *_NEEDED.get(suffix, ()))
    model, provenance = checkpoint.load(weights, "cpu")
    inherited = onnx.licence_of(provenance)
    licence = ", learnt from ".join(dict.fromkeys(filter(None, (args.licence, inherited)))) or None
    digest, checked = sha256(weights), ""
    with console.err.status(f"Exporting {weights.name}"):
        if args.hub:
            from ser_gpu.exports import hub  # here: huggingface_hub comes with the extra `export`

            hub.write(args.hub, model, provenance, licence, digest)
        elif suffix == ".pt2":
            onnx.to_pt2(model, out, args.tta, licence=licence, sha256=digest)
        else:
            difference = onnx.to_onnx(model, out, args.tta, licence, digest, args.speaker, args.half)
            checked = f", opset {onnx.OPSET}, largest difference from torch {difference:.1e}"
    size = "" if args.hub else f", {Path(out).stat().st_size / 1e6:.1f} MB"
    console.err.print(f"written: {args.hub or out}{size}{checked}")
    console.note(inherited and f"licence of what these weights learnt from: {inherited}")
    return options.DONE


if __name__ == "__main__":
    sys.exit(main())
