"""The whole model, waveform in and probabilities out, as one graph for any batch size: `.onnx` and `.pt2` files."""

import copy
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from ser_gpu import __version__, corpora
from ser_gpu.checkpoint import Provenance
from ser_gpu.corpora.splits import Protocol
from ser_gpu.errors import InputError, check, extra
from ser_gpu.files import replacing
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.onnx import LEAST_RUNTIME, OnnxModel
from ser_gpu.stages import speaker_norm
from ser_gpu.stages.mel import FftMelPower
from ser_gpu.stages.silero import SpeechDetector
from ser_gpu.voices.voice import numbers

OPSET = 18
TOLERANCE = 1e-4  # of a probability: runtimes add float32 numbers in different orders
HALF_TOLERANCE = 2e-3  # the same where weights are rounded to 11 bits
_LARGE = 1_024  # values of a tensor that is worth it
_BATCH = torch.export.Dim("batch", min=1, max=65_536)
_CHECKED = ((1, 800), (3, 30_000), (2, 100_003))  # clips, samples


class StftMelPower(FftMelPower):
    """`FftMelPower` on real numbers, since a graph cannot slice complex ones: [B, L] -> [B, M, F]."""

    def forward(self, waveform: Tensor) -> Tensor:
        settings = {"window": self.window, "pad_mode": "constant", "return_complex": True}
        stft = torch.view_as_real(torch.stft(waveform, self.config.n_fft, self.config.hop, **settings))[:, : self.bins]
        return torch.matmul(self.mel_basis[:, : self.bins], stft.square().sum(dim=3))


class ExportedModel(nn.Module):
    """What an exported file computes.

    Shape: waveform [B, T] float32 at model rate, T >= `trim.hop` -> probabilities [B, C] float32, speech [B] bool.
    Raises InputError where the kernels of the spectrogram were trained.
    """

    def __init__(self, model: SpeechEmotionModel, tta: bool = True):
        super().__init__()
        if not isinstance(model.mel.mel_power, FftMelPower):
            raise InputError("a model with mel.backend=conv cannot be exported; mel.backend=fft computes the same")
        self.model = copy.deepcopy(model).cpu().float().eval()
        fft = self.model.mel.mel_power
        self.model.mel.mel_power = StftMelPower(fft.config, model.sample_rate, fft.window, fft.mel_basis)
        self.model.vad = SpeechDetector(model.sample_rate)
        self.tta = tta

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.probabilities(self.model(waveform, tta=self.tta)), self.model.vad(waveform)


class ExportedSpeakerModel(ExportedModel):
    """An `ExportedModel` for one speaker, whose statistics come in and go out.

    All weights zero: the clips are answered with the given statistics of a `Voice`. Weights that sum to the share of
    `ser_gpu.voices.plan.Plan`: the clips are measured as in `Recognizer.enrol`. A head is made of the features.
    Shape: waveform [B, T], mean [N], variance [N], weight [B], head [C, inputs + 1] -> probabilities [B, C],
    speech [B], mean [N], variance [N], features [B, inputs].
    Raises InputError as `ExportedModel` does.
    """

    def forward(
        self, waveform: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, head: Tensor
    ) -> tuple[Tensor, ...]:
        share = weight.sum()
        views = self.model.tta.copies if self.tta else 1
        of_view = weight / share.clamp(min=torch.finfo(torch.float32).tiny) / views
        of_views = of_view.expand(views, weight.shape[0]).flatten()
        given = speaker_norm.Statistics(mean, variance, head)
        with speaker_norm.measuring(self.model.cnn, of_views, share, given) as found:
            answers = super().forward(waveform)
        statistics, features = found()
        if features.shape[1] == 0:  # the last layer takes no head
            return *answers, statistics.mean, statistics.variance, weight[:, None][:, :0]
        of_clips = features.unflatten(0, (views, weight.shape[0])).mean(dim=0)
        return *answers, statistics.mean, statistics.variance, of_clips


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's warnings, which are for developers of torch."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def program(model: SpeechEmotionModel, tta: bool = True, speaker: bool = False) -> torch.export.ExportedProgram:
    """An `ExportedModel` or `ExportedSpeakerModel` as one graph, for any batch and any number of samples.

    Raises InputError as `ExportedModel` does, and for a speaker where the network has no batch normalisation.
    """
    samples = torch.export.Dim("samples", min=model.config.trim.hop, max=2**31 - 1)
    examples, shapes = [torch.linspace(-1.0, 1.0, 2 * 30_000).reshape(2, 30_000)], [{0: _BATCH, 1: samples}]
    exported = (ExportedSpeakerModel if speaker else ExportedModel)(model, tta)
    if speaker:
        problem = "has no batch normalisation that takes a voice"
        check(speaker_norm.layers(model.cnn), f"the network {model.config.cnn.network!r} {problem}")
        of_all = speaker_norm.population(exported.model.cnn)
        examples += [of_all.mean, of_all.variance, torch.full((2,), 0.25), no_head(exported.model)]
        shapes += [None, None, {0: _BATCH}, None]
    with torch.no_grad():
        return torch.export.export(exported, tuple(examples), dynamic_shapes=tuple(shapes))


@_quiet_exporter()
def to_pt2(model: SpeechEmotionModel, path: str | Path, tta: bool = True, **about: str | None) -> None:
    """Write a program for `torch.export.load`, which needs nothing of ser_gpu; `about`: metadata as of `to_onnx`."""
    traced = program(model, tta)
    graphs = (each.graph for each in traced.graph_module.modules() if isinstance(each, torch.fx.GraphModule))
    for node in (node for graph in graphs for node in graph.nodes):
        node.meta.pop("stack_trace", None)  # it holds paths of this machine
    buffer = io.BytesIO()  # torch would store the name of a file
    torch.export.save(traced, buffer, extra_files={"metadata.json": json.dumps(metadata(model, tta=tta, **about))})
    with replacing(path) as temporary, buffer.getbuffer() as content:
        temporary.write_bytes(content)


@_quiet_exporter()
def to_onnx(
    model: SpeechEmotionModel,
    path: str | Path,
    tta: bool = True,
    licence: str | None = None,
    sha256: str | None = None,
    speaker: bool = False,
    half: bool = False,
) -> float:
    """Write and check an ONNX file; returns the largest difference of a probability from torch.

    `licence` (of the weights) and `sha256` (of their checkpoint) are metadata; `half` stores weights in 16 bits, which
    are computed with in 32; the rest is as in `program`.
    Raises InputError as `program` does, or where the file answers differently from the model; MissingExtraError.
    """
    onnx = extra("onnx", "export")
    passes = extra("onnxscript.ir.passes.common", "export")
    names = {"input_names": ["waveform"], "output_names": ["probabilities", "speech"]}
    names["dynamic_shapes"] = [{0: "batch", 1: "samples"}]
    about = {"tta": tta, "half": half, "licence": licence, "sha256": sha256}
    if speaker:
        names["dynamic_shapes"] += [None, None, {0: "batch"}, None]
        names["input_names"] += ["mean", "variance", "weight", "head"]
        names["output_names"] += ["speaker_mean", "speaker_variance", "features"]
        about |= {"network": model.network_hash, "population": json.dumps(population(model))}
        about |= {"temperature": float(model.temperature)}
    traced = program(model, tta, speaker)
    with torch.no_grad():
        exported = torch.onnx.export(traced, dynamo=True, opset_version=OPSET, verbose=False, **names)
    passes.ClearMetadataAndDocStringPass()(exported.model)  # the exporter's notes hold paths of this machine
    proto = exported.model_proto
    _compact(proto.graph, onnx, half)
    proto.producer_name, proto.producer_version = "ser_gpu", __version__
    proto.doc_string = "Speech emotion recognition: waveform in, probabilities of emotions and presence of speech out."
    onnx.helper.set_model_props(proto, metadata(model, **about))
    onnx.checker.check_model(proto, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
        return _difference(OnnxModel(temporary), model, tta, HALF_TOLERANCE if half else TOLERANCE)


def metadata(model: SpeechEmotionModel, **more: object) -> dict[str, str]:
    """What a program needs to use the file, as texts; None values are left out."""
    known = {"labels": json.dumps(list(model.labels)), "trim": json.dumps(vars(model.config.trim))}
    known |= {"sample_rate": model.sample_rate, "window_samples": model.window_samples}
    known |= {"ser_gpu": __version__, "opset": OPSET, "onnxruntime": LEAST_RUNTIME, **more}
    return {name: str(value) for name, value in known.items() if value is not None}


def population(model: SpeechEmotionModel) -> dict[str, list[float]]:
    """The statistics of the training, for no voice given, written as in a `.voice` file."""
    of_all = speaker_norm.population(model.cnn)
    return {name: numbers(getattr(of_all, name).float().cpu().numpy()) for name in ("mean", "variance")}


def no_head(model: SpeechEmotionModel) -> Tensor:
    """The head for no voice given: zeros [C, inputs + 1]."""
    return torch.zeros(len(model.labels), speaker_norm.head_inputs(model.cnn) + 1)


def trained_on(provenance: Provenance) -> list[str]:
    """The corpora that the weights were trained on, as far as it is known; older files say it by the protocol."""
    names = Protocol.from_dict(provenance.protocol).corpus
    return names.split(", ") if names else []


def licence_of(provenance: Provenance) -> str | None:
    """The licence of what the weights, and those that they began with, were trained on; None where it is not known."""
    return corpora.licence_of(trained_on(provenance), provenance.licence)


def _compact(graph: object, onnx: ModuleType, half: bool) -> None:
    # tables of 0, 1, 2, ... become a node that counts; weights in 16 bits get one that makes float32 of them
    make, array, nodes = onnx.helper.make_node, onnx.numpy_helper.from_array, []
    for each in [each for each in graph.initializer if math.prod(each.dims) >= _LARGE]:
        values, name = onnx.numpy_helper.to_array(each), each.name
        if half and values.dtype == np.float32:
            each.CopyFrom(array(values.astype(np.float16), f"{name}.half"))
            nodes.append(make("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
        elif values.dtype == np.int64 and np.array_equal(values, np.arange(len(values))):
            graph.initializer.remove(each)
            ends = {f"{name}.{at}": np.int64(number) for at, number in enumerate((0, len(values), 1))}
            graph.initializer.extend(array(np.array(number), end) for end, number in ends.items())
            nodes.append(make("Range", list(ends), [name]))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


@torch.inference_mode()
def _difference(exported: OnnxModel, model: SpeechEmotionModel, tta: bool, allowed: float) -> float:
    model = copy.deepcopy(model).cpu().eval()
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for clips, samples in _CHECKED:
        waveform = torch.randn(clips, samples, generator=generator) * torch.linspace(0, 1, samples)
        answer = torch.from_numpy(exported.answer(waveform.numpy()))
        largest = max(largest, float((answer - model.probabilities(model(waveform, tta=tta))).abs().max()))
    check(largest < allowed, f"the exported file answers {largest:.1e} away from the model, {allowed:.0e} is allowed")
    return largest
