"""The whole model, waveform in and probabilities out, as one graph for any batch size: `.onnx` and `.pt2` files."""

import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_gpu import __version__, checkpoint, corpora
from ser_gpu.checkpoint import Provenance
from ser_gpu.errors import InputError, extra
from ser_gpu.files import replacing
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages import speaker_norm
from ser_gpu.stages.mel import FftMelPower
from ser_gpu.stages.silero import SpeechDetector
from ser_gpu.stages.speaker_norm import Statistics
from ser_gpu.voices.voice import numbers

OPSET = 18
TOLERANCE = 1e-4  # of a probability: runtimes add float32 numbers in different orders
_BATCH = torch.export.Dim("batch", min=1, max=65_536)
_CHECKED = ((1, 800), (3, 30_000), (2, 100_003))  # clips, samples


class StftMelPower(nn.Module):
    """`FftMelPower` on real numbers, since a graph cannot slice complex ones: [B, L] -> [B, M, F]."""

    def __init__(self, fft: FftMelPower):
        super().__init__()
        self.config = fft.config
        self.bins = fft.bins
        self.register_buffer("window", fft.window.clone())
        self.register_buffer("mel_basis", fft.mel_basis[:, : fft.bins].clone())

    def forward(self, waveform: Tensor) -> Tensor:
        settings = {"center": True, "pad_mode": "constant", "return_complex": True}
        stft = torch.stft(waveform, self.config.n_fft, self.config.hop, window=self.window, **settings)
        return torch.matmul(self.mel_basis, torch.view_as_real(stft)[:, : self.bins].square().sum(dim=3))


class ConvolutionMelPower(nn.Module):
    """`FftMelPower` by a convolution, for runtimes without an STFT or with a slow one: [B, L] -> [B, M, F]."""

    def __init__(self, fft: FftMelPower):
        super().__init__()
        self.config = fft.config
        self.bins = fft.bins
        self.register_buffer("kernels", _fourier_kernels(fft.window, range(fft.bins), fft.config.n_fft))
        self.register_buffer("mel_basis", fft.mel_basis[:, : fft.bins].clone())

    def forward(self, waveform: Tensor) -> Tensor:
        padding = self.config.n_fft // 2
        parts = F.conv1d(waveform[:, None], self.kernels, stride=self.config.hop, padding=padding).square()
        return torch.matmul(self.mel_basis, parts[:, : self.bins] + parts[:, self.bins :])


def _fourier_kernels(window: Tensor, bins: range, size: int) -> Tensor:
    # windowed cosines, then sines: [N] -> [2 bins, 1, N] float32
    time = torch.arange(len(window), dtype=torch.float64)
    angle = 2 * torch.pi * torch.tensor(list(bins), dtype=torch.float64)[:, None] * time / size
    return (torch.cat([angle.cos(), angle.sin()]) * window.double()).float()[:, None]


DFTS = {"stft": StftMelPower, "conv": ConvolutionMelPower}


class ExportedModel(nn.Module):
    """What an exported file computes; `dft="conv"` is for runtimes that have no fast STFT.

    Shape: waveform [B, T] float32 at model rate, T >= `trim.hop` -> probabilities [B, C] float32, speech [B] bool.
    Raises InputError where the kernels of the spectrogram were trained, or `dft` is not known.
    """

    def __init__(self, model: SpeechEmotionModel, tta: bool = True, dft: str = "stft"):
        super().__init__()
        if dft not in DFTS:
            raise InputError(f"dft must be one of {', '.join(DFTS)}, got {dft!r}")
        if not isinstance(model.mel.mel_power, FftMelPower):
            raise InputError("a model with mel.backend=conv cannot be exported; mel.backend=fft computes the same")
        self.model = copy.deepcopy(model).cpu().float().eval()
        self.model.mel.mel_power = DFTS[dft](self.model.mel.mel_power)
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
    Raises InputError as `ExportedModel` does, and where the network has no batch normalisation.
    """

    def __init__(self, model: SpeechEmotionModel, tta: bool = True, dft: str = "stft"):
        super().__init__(model, tta, dft)
        if not speaker_norm.layers(model.cnn):
            raise InputError(f"the network {model.config.cnn.network!r} has no batch normalisation that takes a voice")

    def forward(
        self, waveform: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, head: Tensor
    ) -> tuple[Tensor, ...]:
        share = weight.sum()
        views = self.model.tta.copies if self.tta else 1
        of_view = weight / share.clamp(min=torch.finfo(torch.float32).tiny) / views
        of_views = of_view.expand(views, weight.shape[0]).flatten()
        given = Statistics(mean, variance, head)
        with speaker_norm.measuring(self.model.cnn, of_views, share, given) as found:
            answers = super().forward(waveform)
        statistics, features = found()
        if features.shape[1] == 0:  # the last layer takes no head
            return *answers, statistics.mean, statistics.variance, weight[:, None][:, :0]
        of_clips = features.unflatten(0, (views, weight.shape[0])).mean(dim=0)
        return *answers, statistics.mean, statistics.variance, of_clips


def program(
    model: SpeechEmotionModel, tta: bool = True, dft: str = "stft", speaker: bool = False
) -> torch.export.ExportedProgram:
    """An `ExportedModel` or `ExportedSpeakerModel` as one graph, for any batch and any number of samples."""
    samples = torch.export.Dim("samples", min=model.config.trim.hop, max=2**31 - 1)
    examples, shapes = [torch.linspace(-1.0, 1.0, 2 * 30_000).reshape(2, 30_000)], [{0: _BATCH, 1: samples}]
    exported = (ExportedSpeakerModel if speaker else ExportedModel)(model, tta, dft)
    if speaker:
        of_all = speaker_norm.population(exported.model.cnn)
        examples += [of_all.mean, of_all.variance, torch.full((2,), 0.25), no_head(exported.model)]
        shapes += [None, None, {0: _BATCH}, None]
    with torch.no_grad():
        return torch.export.export(exported, tuple(examples), dynamic_shapes=tuple(shapes))


def to_pt2(model: SpeechEmotionModel, path: str | Path, tta: bool = True) -> None:
    """Write a program for `torch.export.load`; it needs torch, and nothing of ser_gpu."""
    traced = program(model, tta)
    graphs = (each.graph for each in traced.graph_module.modules() if isinstance(each, torch.fx.GraphModule))
    for node in (node for graph in graphs for node in graph.nodes):
        node.meta.pop("stack_trace", None)  # it holds paths of this machine
    buffer = io.BytesIO()  # torch would store the name of a file
    torch.export.save(traced, buffer, extra_files={"metadata.json": json.dumps(metadata(model, tta=tta))})
    with replacing(path) as temporary, buffer.getbuffer() as content:
        temporary.write_bytes(content)


def to_onnx(
    model: SpeechEmotionModel,
    path: str | Path,
    tta: bool = True,
    dft: str = "stft",
    licence: str | None = None,
    sha256: str | None = None,
    speaker: bool = False,
) -> float:
    """Write and check an ONNX file; returns the largest difference of a probability from torch.

    `licence` (of the weights) and `sha256` (of their checkpoint) are metadata; the rest is as in `program`.
    Raises InputError as `program` does, or where the file answers differently from the model; MissingExtraError.
    """
    onnx = extra("onnx", "export")
    extra("onnxscript", "export")
    traced = program(model, tta, dft, speaker)
    names = {"input_names": ["waveform"], "output_names": ["probabilities", "speech"]}
    about = {"tta": tta, "dft": dft, "licence": licence, "sha256": sha256}
    if speaker:
        names["input_names"] += ["mean", "variance", "weight", "head"]
        names["output_names"] += ["speaker_mean", "speaker_variance", "features"]
        about |= {"network": model.network_hash, "population": json.dumps(population(model))}
        about |= {"temperature": float(model.temperature)}
    with torch.no_grad():
        proto = torch.onnx.export(traced, dynamo=True, opset_version=OPSET, verbose=False, **names).model_proto
    _tidy(proto.graph)
    proto.producer_name, proto.producer_version = "ser_gpu", __version__
    proto.doc_string = "Speech emotion recognition: waveform in, probabilities of emotions and presence of speech out."
    onnx.helper.set_model_props(proto, metadata(model, **about))
    onnx.checker.check_model(proto, full_check=True)
    content = proto.SerializeToString(deterministic=True)
    difference = _difference(content, model, tta, speaker)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return difference


def metadata(model: SpeechEmotionModel, **more: object) -> dict[str, str]:
    """What a program needs to use the file, as texts; None values are left out."""
    known = {
        "labels": json.dumps(list(model.labels)),
        "sample_rate": model.sample_rate,
        "window_samples": model.config.audio.clip_samples,
        "trim": json.dumps(vars(model.config.trim)),
        "ser_gpu": __version__,
        "opset": OPSET,
        **more,
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def population(model: SpeechEmotionModel) -> dict[str, list[float]]:
    """The statistics of the training, for no voice given, written as in a `.voice` file."""
    of_all = speaker_norm.population(model.cnn)
    return {name: numbers(getattr(of_all, name).float().cpu().numpy()) for name in ("mean", "variance")}


def no_head(model: SpeechEmotionModel) -> Tensor:
    """The head for no voice given: zeros [C, inputs + 1]."""
    return torch.zeros(len(model.labels), speaker_norm.head_inputs(model.cnn) + 1)


def licence_of(path: Path, provenance: Provenance) -> str | None:
    """The licence of the corpora that the weights were trained on; None where it is not known."""
    trained_on = provenance.protocol.get("corpus")
    if not trained_on and path.resolve().parent == checkpoint.default_weights().resolve().parent:
        trained_on = corpora.names()[0]
    names = [corpora.registered_name(name) for name in (trained_on or "").split(", ")]
    if None in names:
        return None
    known = [corpora.get(name) for name in names]
    return known[0].licence if len(known) == 1 else "; ".join(f"{each.title}: {each.licence}" for each in known)


def _tidy(graph: object) -> None:
    # name the free dimensions batch and samples everywhere
    clips, samples = (dimension.dim_param for dimension in graph.input[0].type.tensor_type.shape.dim)
    names = {clips: "batch", samples: "samples"}
    values = [*graph.input, *graph.output, *graph.value_info]
    for dimension in (dimension for value in values for dimension in value.type.tensor_type.shape.dim):
        if dimension.dim_param in names:
            dimension.dim_param = names[dimension.dim_param]
    _forget_sources(graph)


def _forget_sources(graph: object) -> None:
    # the exporter's notes hold paths of this machine
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for attribute in (each for node in graph.node for each in node.attribute if each.HasField("g")):
        _forget_sources(attribute.g)  # the body of a loop


@torch.inference_mode()
def _difference(content: bytes, model: SpeechEmotionModel, tta: bool, speaker: bool) -> float:
    ort = extra("onnxruntime", "onnx")
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    model = copy.deepcopy(model).cpu().eval()
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for clips, samples in _CHECKED:
        waveform = torch.randn(clips, samples, generator=generator) * torch.linspace(0, 1, samples)
        given = {"waveform": waveform.numpy()}
        if speaker:
            of_all = {name: np.array(values, np.float32) for name, values in population(model).items()}
            given |= of_all | {"weight": np.zeros(clips, np.float32), "head": no_head(model).numpy()}
        answer = torch.from_numpy(session.run(["probabilities"], given)[0])
        expected = model.probabilities(model(waveform, tta=tta))
        largest = max(largest, float((answer - expected).abs().max()))
    if not largest < TOLERANCE:
        raise InputError(f"the exported file answers {largest:.1e} away from the model, {TOLERANCE:.0e} is allowed")
    return largest


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence the exporter's warnings, which are for developers of torch."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
