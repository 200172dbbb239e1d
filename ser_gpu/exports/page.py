"""The page that names emotions in the browser: its own files, two libraries, and the model as ONNX."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ser_gpu import __version__, checkpoint
from ser_gpu.audio import silero
from ser_gpu.errors import check, extra
from ser_gpu.exports import onnx
from ser_gpu.files import read_json, replacing, sha256, write_json
from ser_gpu.stages import speaker_norm
from ser_gpu.timeline.cuts import TimelineSettings
from ser_gpu.voices import plan

PACKAGE = Path(__file__).parent.parent
LIBRARIES = {  # file of the page -> of a package of npm
    "ort/ort.wasm.bundle.min.mjs": "onnxruntime-web/dist/ort.wasm.bundle.min.mjs",
    "ort/ort-wasm-simd-threaded.wasm": "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    "media/mediabunny.min.mjs": "mediabunny/dist/bundles/mediabunny.min.mjs",
    "media/license.txt": "mediabunny/LICENSE",
}
MODEL_FILES = ("model.onnx", "speech.onnx")
OF_PLAN = ("POPULATION_WINDOWS", "POPULATION_WINDOWS_ONE_EMOTION", "SHARPENING", "HEAD_PRIOR", "MOST_HEAD_WINDOWS")
OF_PLAN += ("MOST_WINDOWS", "HELPFUL_WINDOWS", "HELPFUL_NAMED_WINDOWS", "ALIKE_SHARE", "FEWEST_ALIKE")


def page_folder() -> Path:
    """The page's own files: inside the package in a wheel, beside it in a checkout."""
    installed = PACKAGE / "page"
    return installed if installed.is_dir() else PACKAGE.parent / "app"


def libraries_folder() -> Path:
    """The packages of npm: in a wheel that was built with them, or after `npm ci`."""
    return page_folder() / "node_modules"


def files() -> dict[str, Path]:
    """What the page is made of but for its model: name -> file."""
    source, libraries = page_folder(), libraries_folder()
    own = [path for kind in ("html", "css", "js", "txt") for path in source.glob(f"*.{kind}")]
    shared = {"sample.wav": source.parent / "examples" / "sample.wav"}
    shared["responsible-use.txt"] = source.parent / "docs" / "responsible-use.md"
    return {path.name: path for path in own} | shared | {name: libraries / path for name, path in LIBRARIES.items()}


def site_folder() -> Path:
    """Where `ser-gpu app` writes the page that it serves."""
    is_installed = page_folder().parent == PACKAGE
    return Path.home() / ".cache" / "ser_gpu" / "app" if is_installed else PACKAGE.parent / "build" / "app"


def build(folder: str | Path, weights: str | Path | None = None, tta: bool = True) -> Path:
    """Write the page, its libraries and the model; the same model by the same exporter is not exported again.

    Raises InputError without the libraries, and as `ser_gpu.exports.onnx.to_onnx` does.
    """
    folder, weights, copied = Path(folder), checkpoint.weights_file(weights), files()
    for name, path in LIBRARIES.items():
        where = f"{libraries_folder()}: {path.partition('/')[0]} is not installed"
        check(copied[name].is_file(), f"{where}: run npm ci --omit=dev in {page_folder()}")
    for name, path in copied.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name)
    _write_detector(folder / "speech.onnx")
    _write_model(folder, weights, tta, sorted([*copied, *MODEL_FILES]))
    return folder


def _write_model(folder: Path, weights: Path, tta: bool, names: list[str]) -> None:
    model, provenance = checkpoint.load(weights, "cpu")
    speaker = None
    if speaker_norm.layers(model.cnn):  # only such a network takes a voice
        speaker = {"network": model.network_hash, "population": onnx.population(model)}
        speaker |= {"head": list(onnx.no_head(model).shape), "temperature": float(model.temperature)}
        speaker |= {name.lower(): getattr(plan, name) for name in OF_PLAN}
    about = {"name": weights.name, "sha256": sha256(weights), "licence": onnx.licence_of(provenance), "tta": tta}
    about |= {"ser_gpu": __version__, "exporter": sha256(onnx.__file__, __file__), "labels": list(model.labels)}
    about |= {"sample_rate": model.sample_rate, "window_samples": model.window_samples}
    about |= {name: vars(getattr(model.config, name)) for name in ("trim", "mel")}
    about |= {"timeline": vars(TimelineSettings()), "speech_threshold": silero.THRESHOLD, "speaker": speaker}
    description = folder / "model.json"
    known = read_json(description) if (folder / "model.onnx").is_file() and description.is_file() else {}
    if any(known.get(name) != value for name, value in about.items()):
        description.unlink(missing_ok=True)
        settings = {name: about[name] for name in ("tta", "licence", "sha256")}
        onnx.to_onnx(model, folder / "model.onnx", **settings, speaker=speaker is not None, half=True)
        _forget_speech(folder / "model.onnx")
    about["bytes"] = {name: (folder / name).stat().st_size for name in names}
    contents = sha256(*(folder / name for name in names))
    about["version"] = hashlib.sha256(f"{about} {contents}".encode()).hexdigest()  # of the page that a browser keeps
    write_json(description, about)  # last, so that what it describes exists


def _forget_speech(path: Path) -> None:
    # the page hears speech by its own detector, as `predict` does
    library = extra("onnx", "export")
    proto = library.load(path)
    names = [[each.name for each in values] for values in (proto.graph.input, proto.graph.output)]
    kept = library.utils.Extractor(proto).extract_model(names[0], [name for name in names[1] if name != "speech"])
    kept.metadata_props.extend(proto.metadata_props)
    with replacing(path) as temporary:
        temporary.write_bytes(kept.SerializeToString(deterministic=True))


def _write_detector(path: Path) -> None:
    # the network of `ser_gpu.audio.silero`, whose layers multiply all frames at once: silero-vad's own graph is slower
    library = extra("onnx", "export")
    helper, weights, constants, nodes = library.helper, silero.load_weights(), [], []

    def add(kind: str, *inputs: str | np.ndarray, outputs: Sequence[str] = (), **attributes: int) -> str:
        names = [each if isinstance(each, str) else f"constant{len(constants) + at}" for at, each in enumerate(inputs)]
        given = zip(names, inputs, strict=True)
        arrays = ((name, np.ascontiguousarray(each)) for name, each in given if not isinstance(each, str))
        constants.extend(library.numpy_helper.from_array(each, name) for name, each in arrays)
        nodes.append(helper.make_node(kind, names, outputs or [f"{kind}{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    spectrum = add("MatMul", "rows", weights["stft_conv.weight"][:, 0].T)  # [4 N, 256] -> [4 N, 258]
    spectrum = add("Reshape", spectrum, np.array([-1, 4, 2, 129]))
    out, frames = add("ReduceL2", spectrum, np.array([2]), keepdims=0), 4  # [N, 4, 129]
    for layer, stride in enumerate(silero.STRIDES, 1):
        kernel, bias = weights[f"conv{layer}.weight"], weights[f"conv{layer}.bias"]  # [C', C, 3], [C']
        out, frames = add("Pad", out, np.array([0, 1, 0, 0, 1, 0])), (frames - 1) // stride + 1
        ends = [at + stride * (frames - 1) + 1 for at in range(3)]
        around = [add("Slice", out, *np.array([[at], [ends[at]], [1], [stride]])) for at in range(3)]
        out = add("Concat", *around, axis=2)  # [N, F, 3 C]
        out = add("MatMul", out, kernel.transpose(2, 1, 0).reshape(-1, len(kernel)))
        out = add("Relu", add("Add", out, bias))
    # order of the gates: torch input, forget, cell, output; ONNX input, output, forget, cell
    gates = np.arange(len(weights["lstm_cell.bias_ih"])).reshape(4, -1)[[0, 3, 1, 2]].ravel()
    *cell, bias, more_bias = (weights[f"lstm_cell.{name}"][gates][None] for name in silero.LSTM)
    given = (out, *cell, np.concatenate([bias, more_bias], axis=1), "", "h", "c")
    out = add("LSTM", *given, outputs=("outputs", "hn", "cn"), hidden_size=cell[1].shape[2])
    out = add("Add", add("MatMul", add("Relu", out), weights["final_conv.weight"][0]), weights["final_conv.bias"])
    add("Sigmoid", out, outputs=("speech",))
    shapes = {"rows": ["rows", 256], "h": [1, 1, 128], "c": [1, 1, 128]}
    shapes |= {"speech": ["frames", 1, 1, 1], "hn": [1, 1, 128], "cn": [1, 1, 128]}
    values = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "speech", values[:3], values[3:], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", onnx.OPSET)], ir_version=8)
    library.checker.check_model(proto, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
