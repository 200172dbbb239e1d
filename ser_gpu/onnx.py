"""OnnxModel: the model of an exported `.onnx` file by onnxruntime, without torch."""

import json
import os
from pathlib import Path

import numpy as np

from ser_gpu.audio import silero
from ser_gpu.audio.samples import resample
from ser_gpu.config import TrimConfig
from ser_gpu.errors import InputError, check, extra
from ser_gpu.recognizer import Recognizer, cores
from ser_gpu.voices.plan import Measured, Plan
from ser_gpu.voices.voice import Voice, VoiceError

LEAST_RUNTIME = "1.19"  # of onnxruntime: older ones abort at the loop of the voice detector

_LEFT: list = []  # sessions of the process that was forked


class OnnxModel(Recognizer):
    """The same windows and answers as those of `ser_gpu.load_model`; `threads` of onnxruntime, None: one a core.

    A file that was exported with `--speaker` enrols speakers, and takes voices that the torch model enrolled too.
    Raises MissingExtraError without onnxruntime; ValueError for a file that `ser-gpu export` did not write.
    """

    windows_at_once = 8
    _sharpness = np.float32(1.0)

    def __init__(self, path: str | os.PathLike, threads: int | None = None):
        version = extra("onnxruntime", "onnx").__version__
        if [*map(int, version.split(".")[:2])] < [*map(int, LEAST_RUNTIME.split("."))]:
            needed = f"which need {LEAST_RUNTIME} or newer"
            raise InputError(f"onnxruntime {version} is too old for exported files, {needed}")
        check(Path(path).is_file(), f"{os.fspath(path)}: no such file")
        self._content, self._threads = Path(path).read_bytes(), threads or cores()
        try:
            self._open()
            self.metadata = dict(self.session.get_modelmeta().custom_metadata_map)
            self.labels = tuple(json.loads(self.metadata["labels"]))
            self.sample_rate = int(self.metadata["sample_rate"])
            self.window_samples = int(self.metadata["window_samples"])
            self.trim_config = TrimConfig(**json.loads(self.metadata["trim"]))
            of_all = json.loads(self.metadata.get("population", "{}"))
            self._voice = {name: np.array(values, np.float32) for name, values in of_all.items()}
            shapes = {each.name: each.shape for each in self.session.get_inputs()}
            self._voice |= {"head": np.zeros(shapes["head"], np.float32)} if of_all else {}
            self.network_hash = self.metadata["network"] if of_all else None
            self.temperature = float(self.metadata.get("temperature", 1.0))
        except Exception as error:  # onnxruntime raises many kinds
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{os.fspath(path)}: is no file of ser-gpu export ({reason})") from None

    def _open(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        self._options = onnxruntime.RunOptions()
        self._options.only_execute_path_to_fetches = True  # compute nothing that the outputs do not need
        self.session = onnxruntime.InferenceSession(self._content, options, providers=["CPUExecutionProvider"])
        self._process = os.getpid()

    def __getstate__(self) -> dict:
        return {**vars(self), "session": None, "_options": None}  # which cannot be pickled

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._open()

    def probabilities(self, waveform: np.ndarray, voice: Voice | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities, and whether somebody speaks. Shape: [B, T] float32 -> [B, C] float32, [B] bool.

        Clips are at `sample_rate`, shorter ones with zeros at the end. Silence around the sound is cut, and of a sound
        longer than a window the middle is heard. Raises VoiceError as `require`.
        """
        heard = np.stack([resample(each, self.sample_rate, silero.SpeechProbability.sample_rate) for each in waveform])
        return self.with_voice(voice).answer(waveform), silero.speaks(heard)

    def require(self, voice: Voice | None) -> None:
        """As `Recognizer.require`; raise VoiceError where the file takes no voice too."""
        if voice is not None and self.network_hash is None:
            raise VoiceError("the .onnx file takes no voice: write one that does by ser-gpu export --speaker")
        super().require(voice)

    def with_voice(self, voice: Voice | None = None) -> "OnnxModel":
        if voice is None:
            return self
        self.require(voice)
        found = object.__new__(OnnxModel)  # with the same session, which a copy has not
        vars(found).update(vars(self), _voice={**self._voice, "mean": voice.mean, "variance": voice.variance})
        if voice.head is not None:
            found._voice["head"] = voice.head
        found._sharpness = np.float32(voice.sharpness)
        return found

    def answer(self, windows: np.ndarray) -> np.ndarray:
        (probabilities,) = self._run(["probabilities"], windows)
        if self._sharpness == 1.0:
            return probabilities
        powers = probabilities**self._sharpness  # the same as logits times the sharpness
        return powers / powers.sum(axis=1, keepdims=True)

    def measure(self, windows: np.ndarray, plan: Plan) -> tuple[Measured, np.ndarray]:
        if self.network_hash is None:
            raise VoiceError("the .onnx file cannot enrol: write one that can by ser-gpu export --speaker")
        asked = ["speaker_mean", "speaker_variance", "features", "probabilities"]
        *found, adapted = self._run(asked, windows, plan.weight * np.float32(plan.share))
        logs = np.log(np.maximum(adapted, np.finfo(np.float32).tiny))
        return Measured(*found, logs), self.answer_all(windows).argmax(axis=1)

    def _run(self, outputs: list[str], waveform: np.ndarray, weight: np.ndarray | None = None) -> list[np.ndarray]:
        if self._process != os.getpid():  # the threads of a session end at a fork
            _LEFT.append(self.session)  # to free it would wait for them
            self._open()
        given = {"waveform": waveform, **self._voice}
        if self._voice:
            given["weight"] = np.zeros(len(waveform), np.float32) if weight is None else weight
        return self.session.run(outputs, given, self._options)
