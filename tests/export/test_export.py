"""The exported files answer as the model does: any batch, any length, with and without torch."""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import ser_gpu
from ser_gpu import ModelConfig, SpeechEmotionModel, checkpoint, export, hub
from ser_gpu.audio.error import AudioError
from ser_gpu.audio.waveform import load
from ser_gpu.checkpoint import Provenance
from ser_gpu.config import CnnConfig
from ser_gpu.extras import MissingExtraError
from ser_gpu.onnx import OnnxModel
from ser_gpu.prediction import NoSpeechError
from tests.conftest import SAMPLE_RATE, synthetic_voice

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "examples" / "sample.wav"
SIZES = ((1, 800), (1, 48_000), (2, 48_001), (32, 20_000), (3, 100_000), (1, 960_000))
TOLERANCE = 1e-4  # of a probability: float32 sums in another order

pytest.importorskip("onnxscript", reason="pip install 'ser_gpu[export]'")


@pytest.fixture(scope="module")
def shipped() -> SpeechEmotionModel:
    return ser_gpu.load_model(device="cpu")


@pytest.fixture(scope="module")
def small() -> SpeechEmotionModel:
    torch.manual_seed(1)
    return SpeechEmotionModel(ModelConfig(cnn=CnnConfig(width=4, depth=2, members=1))).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """The shipped weights, as the command exports them."""
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    assert export.main([str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def onnx_model(exported) -> OnnxModel:
    return OnnxModel(exported, threads=1)


def sounds(clips: int, samples: int) -> torch.Tensor:
    """Voices, noise and silence in turn, some with silence around them."""
    generator = torch.Generator().manual_seed(samples)
    rows = []
    for clip in range(clips):
        if clip % 4 == 3:
            rows.append(torch.zeros(samples))
        elif clip % 4 == 2:
            rows.append(torch.randn(samples, generator=generator) * torch.linspace(0, 1, samples) ** 3)
        else:
            voice = torch.from_numpy(synthetic_voice(clip % 8, clip, seed=clip))
            rows.append(voice.repeat(samples // len(voice) + 1)[:samples])
    return torch.stack(rows)


@torch.inference_mode()
def expected(model: SpeechEmotionModel, waveform: torch.Tensor, tta: bool = True) -> torch.Tensor:
    return model.probabilities(model(waveform, tta=tta))


@pytest.mark.parametrize(("clips", "samples"), SIZES)
def test_onnx_answers_as_torch_does(shipped, onnx_model, clips, samples):
    waveform = sounds(clips, samples)
    probabilities, speech = onnx_model.probabilities(waveform.numpy())
    wanted = expected(shipped, waveform)
    np.testing.assert_allclose(probabilities, wanted, atol=TOLERANCE)
    assert (probabilities.argmax(axis=1) == wanted.argmax(dim=1).numpy()).all()
    spoken = [bool(shipped.vad(row[None])) for row in waveform]
    assert speech.tolist() == spoken


@pytest.mark.parametrize("samples", [800, 1_600, 2_500, 5_000, 8_000, 30_000])
def test_speech_is_found_as_torch_finds_it_whatever_zeros_are_around(shipped, onnx_model, samples):
    voice = torch.from_numpy(synthetic_voice(3, 5, seed=9, seconds=2.0))[6_000:]
    for sound in (voice[:samples], torch.randn(samples), 0.1 * torch.randn(samples) + voice[:samples]):
        padded = torch.nn.functional.pad(sound, (1_024, 2_000))[None]
        assert onnx_model.probabilities(padded.numpy())[1].tolist() == shipped.vad(sound[None]).tolist()


def test_the_file_says_what_it_is(exported, onnx_model, shipped):
    assert onnx_model.labels == shipped.labels
    assert onnx_model.sample_rate == SAMPLE_RATE
    about = onnx_model.metadata
    assert about["window_samples"] == "48000"
    assert about["sha256"] == hashlib.sha256(checkpoint.default_weights().read_bytes()).hexdigest()
    assert about["licence"] == "CC BY-NC-SA 4.0"
    assert about["opset"] == "18"
    (given,) = onnx_model.session.get_inputs()
    assert (given.name, given.shape) == ("waveform", ["batch", "samples"])
    outs = {out.name: out.shape for out in onnx_model.session.get_outputs()}
    assert outs == {"probabilities": ["batch", 8], "speech": ["batch"]}


@pytest.mark.parametrize("seconds", [0.3, 1.9, 7.5, 9.02])
def test_onnx_predicts_as_torch_does(shipped, onnx_model, tmp_path, monkeypatch, seconds):
    for pieces in ("ser_gpu.onnx.PIECE_SECONDS", "ser_gpu.inference.SEGMENT_SECONDS"):
        monkeypatch.setattr(pieces, 9.0)
    voices = [synthetic_voice(emotion, 2, seed=emotion, seconds=1.7) for emotion in (1, 4, 6)]
    sound = np.resize(np.concatenate(voices), round(seconds * SAMPLE_RATE))
    soundfile.write(tmp_path / "a.flac", np.stack([sound, 0.5 * sound], axis=1), SAMPLE_RATE)
    ours, theirs = onnx_model.predict(tmp_path / "a.flac"), shipped.predict(tmp_path / "a.flac")
    assert ours.emotion == theirs.emotion
    assert ours.probabilities == pytest.approx(theirs.probabilities, abs=TOLERANCE)
    assert onnx_model.predict((SAMPLE_RATE, sound)).probabilities == pytest.approx(ours.probabilities, abs=0.05)


def test_onnx_says_in_one_line_what_is_wrong(onnx_model, tmp_path):
    with pytest.raises(NoSpeechError, match="no speech found"):
        onnx_model.predict(np.zeros(32_000, np.float32))
    with pytest.raises(AudioError, match="20 ms is too short, 50 ms is the least"):
        onnx_model.predict(np.ones(320, np.float32))
    answers = list(onnx_model.predict_many([SAMPLE, tmp_path / "none.wav"]))
    assert answers[0].emotion == onnx_model.predict(SAMPLE).emotion
    assert isinstance(answers[1], AudioError)
    (tmp_path / "no.onnx").write_bytes(b"no")
    for path in ("no.onnx", "missing.onnx"):
        with pytest.raises(ValueError, match=path):
            OnnxModel(tmp_path / path)


def test_onnx_needs_no_torch(exported, onnx_model):
    script = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchaudio"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
from ser_gpu.onnx import OnnxModel
print(OnnxModel({str(exported)!r}).predict({str(SAMPLE)!r}).emotion)
from ser_gpu.cli.main import main
sys.exit(main(["predict", "--weights", {str(exported)!r}, "--json", {str(SAMPLE)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    emotion, line = done.stdout.splitlines()
    said, wanted = json.loads(line), onnx_model.predict(SAMPLE)
    assert emotion == said["emotion"] == wanted.emotion
    assert said["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-6)


@torch.inference_mode()
def test_both_transforms_are_the_models_own(shipped):
    # as modules: that a file of them answers so too is checked whenever one is written
    waveform = sounds(4, 30_000)
    for dft, tta in (("stft", False), ("conv", False), ("conv", True)):
        probabilities, speech = export.ExportedModel(shipped, tta, dft)(waveform)
        torch.testing.assert_close(probabilities, expected(shipped, waveform, tta), atol=1e-5, rtol=0)
        assert speech.tolist() == shipped.vad(waveform).tolist()


def test_pt2_is_the_same_to_the_last_bits(small, tmp_path):
    export.to_pt2(small, tmp_path / "a.pt2", tta=False)
    program = torch.export.load(tmp_path / "a.pt2").module()
    for clips, samples in ((1, 800), (32, 20_000), (2, 100_001)):
        waveform = sounds(clips, samples)
        with torch.inference_mode():
            torch.testing.assert_close(program(waveform)[0], expected(small, waveform, tta=False), atol=1e-6, rtol=0)


def test_a_hub_folder_holds_the_model_and_its_card(tmp_path, small):
    yaml = pytest.importorskip("yaml")
    assert export.main(["--hub", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    shipped, waveform = ser_gpu.load_model(device="cpu"), sounds(2, 20_000)
    with torch.inference_mode():
        assert torch.equal(hub.load(tmp_path, "cpu")(waveform), shipped(waveform))
    metadata = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    assert metadata["pipeline_tag"] == "audio-classification"
    assert metadata["license"] == "cc-by-nc-sa-4.0"
    hub.write(tmp_path, small, Provenance({"name": "stratified", "fold": 0}, "a" * 64, 0), "my own")
    assert yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])["license_name"] == "my own"
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(checkpoint.CheckpointError, match="not a folder of ser_gpu"):
        hub.load(tmp_path)


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path, small, capsys, monkeypatch):
    for arguments, message in (
        (["a.txt"], "must end in .onnx or .pt2"),
        (["missing.pth", "a.onnx"], "missing.pth: no such checkpoint"),
    ):
        assert export.main(arguments) == 2
        said = capsys.readouterr().err.strip()
        assert message in said
        assert "\n" not in said
    config = dataclasses.replace(small.config, mel=dataclasses.replace(small.config.mel, backend="conv"))
    with pytest.raises(ValueError, match="cannot be exported"):
        export.ExportedModel(SpeechEmotionModel(config))
    with pytest.raises(ValueError, match="dft must be"):
        export.ExportedModel(small, dft="fft")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ser_gpu\[export\]'"):
        export.to_onnx(small, tmp_path / "a.onnx")


def test_the_ten_lines_of_the_page_work(exported, tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    block = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "InferenceSession" in block)
    shutil.copy(exported, tmp_path / "model.onnx")
    soundfile.write(tmp_path / "clip.wav", load(SAMPLE, SAMPLE_RATE).numpy(), SAMPLE_RATE)
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert capsys.readouterr().out == "angry\n"
