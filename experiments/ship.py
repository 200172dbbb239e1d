"""python -m experiments.ship RUN NAME: put a finished training among the shipped weights.

The convolution kernels are stored in float16, half of the size. The checksums are written anew.
"""

import argparse
import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from experiments.page_tables import weights_file
from ser_gpu import checkpoint
from ser_gpu.cli import console, options
from ser_gpu.errors import InputError
from ser_gpu.files import read_json, replacing, write_json

_COPIED = {"metrics.csv": "metrics.csv", "curves.png": "curves.png"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and copy."""
    parser = argparse.ArgumentParser(prog="python -m experiments.ship", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="the folder that ser-gpu train wrote")
    parser.add_argument("name", help="of the file in weights/, without suffix")
    what = "JSON of experiments.cross_corpus, whose temperature is that of new corpora (default: as it was trained)"
    parser.add_argument("--temperature-of", metavar="JSON", help=what)
    args = parser.parse_args(arguments)
    return options.run(lambda: _ship(Path(args.run), args.name, args.temperature_of))


def _ship(run: Path, name: str, temperature_of: str | None) -> int:
    if not (run / "result.json").is_file():
        raise InputError(f"{run}: holds no finished training")
    content = checkpoint.read(run / "last.pth")
    content["state_dict"] = {key: stored(value) for key, value in content["state_dict"].items()}
    result = read_json(run / "result.json")
    if temperature_of:
        temperature = result["temperature"] = read_json(Path(temperature_of))["temperature"]
        content["state_dict"]["temperature"] = torch.tensor(temperature)
        result["temperature_of"] = Path(temperature_of).name
    path = weights_file(f"{name}.pth")
    checkpoint.write(path, content)
    checkpoint.load(path, "cpu")  # it must be what the package loads
    write_json(weights_file(f"{name}.training.json"), result)
    for source, suffix in _COPIED.items():
        with replacing(weights_file(f"{name}.{suffix}")) as temporary:
            shutil.copy(run / source, temporary)
    _sum()
    console.err.print(f"written: {path}")
    return options.DONE


def stored(value: torch.Tensor) -> torch.Tensor:
    """Kernels of convolutions in float16; all else, statistics above all, as it is.

    Raises:
        ValueError: a kernel that float16 cannot hold.
    """
    if value.ndim != 4:
        return value
    half = value.half()
    if not half.isfinite().all():
        raise InputError("a kernel is beyond the range of float16")
    return half


def _sum() -> None:
    path = weights_file("SHA256SUMS")
    lines = [f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in _files(path.parent)]
    with replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pth"))


if __name__ == "__main__":
    sys.exit(main())
