"""The exported files answer as the model does: any batch, any length, with and without torch."""

import ast
import copy
import dataclasses
import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import soundfile
import torch

import ser_gpu
from ser_gpu import ModelConfig, SpeechEmotionModel, checkpoint, export
from ser_gpu.audio import silero
from ser_gpu.audio.samples import load, resample
from ser_gpu.checkpoint import Provenance
from ser_gpu.cli.main import main
from ser_gpu.config import CnnConfig, MelConfig, TrimConfig, TtaConfig
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.errors import MissingExtraError
from ser_gpu.exports import hub, onnx
from ser_gpu.onnx import OnnxModel
from ser_gpu.stages import cnn, prepared, speaker_norm
from ser_gpu.stages.silero import SpeechDetector
from ser_gpu.voices.voice import Voice, VoiceError
from tests.conftest import ROOT, SAMPLE, SAMPLE_RATE, PlainHead, ran, synthetic_voice

SIZES = ((1, 800), (1, 48_000), (2, 48_001), (32, 20_000), (3, 100_000), (1, 960_000))
TOLERANCE = 1e-4  # of a probability: float32 sums in another order

pytest.importorskip("onnxscript", reason="pip install 'ser_gpu[export]'")


@pytest.fixture(scope="module", autouse=True)
def _in_float32():
    """As the exported files are; `predict` of torch is in bfloat16 where the processor multiplies in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "multiplies_bfloat16", lambda: False)
        yield


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


@pytest.fixture(scope="module")
def adaptable() -> SpeechEmotionModel:
    """A small network, as sure as a trained one, whose running statistics are not those of an untrained one."""
    torch.manual_seed(2)
    cnn, trim = CnnConfig(width=4, depth=2, members=2), TrimConfig(fill="repeat")
    mel = MelConfig(mean_subtraction=0.5)
    model = SpeechEmotionModel(ModelConfig(cnn=cnn, tta=TtaConfig(tempo=1.0), trim=trim, mel=mel))
    for layer in speaker_norm.layers(model.cnn):
        torch.nn.init.uniform_(layer.running_mean, -0.1, 0.1)
        torch.nn.init.uniform_(layer.running_var, 0.5, 2.0)
    for member in model.cnn.members:
        torch.nn.init.normal_(member.classify.weight)
    return model.eval()


@pytest.fixture(scope="module")
def speaker_file(adaptable, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("speaker") / "speaker.onnx"
    onnx.to_onnx(adaptable, path, speaker=True)
    return path


@pytest.fixture(scope="module")
def speaker_model(speaker_file) -> OnnxModel:
    return OnnxModel(speaker_file, threads=1)


@pytest.fixture(scope="module")
def pt2_file(small, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "a.pt2"
    onnx.to_pt2(small, path, tta=False)
    return path


def speakers_clips(speaker: int) -> list:
    """One of them longer than the window."""
    lengths = [0.5, 0.7, 5.0, 1.2]
    return [(SAMPLE_RATE, synthetic_voice(i, speaker, seed=i, seconds=seconds)) for i, seconds in enumerate(lengths)]


def licence() -> str | None:
    path = checkpoint.weights_file()
    return onnx.licence_of(checkpoint.load(path, "cpu")[1])


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


def one_line(capsys, *parts: str) -> None:
    """stderr is one line, with these parts in it."""
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(part in said for part in parts)


@pytest.mark.parametrize(("clips", "samples"), SIZES)
def test_onnx_answers_as_torch_does(shipped, onnx_model, clips, samples):
    waveform = sounds(clips, samples)
    probabilities, speech = onnx_model.probabilities(waveform.numpy())
    wanted = expected(shipped, waveform)
    np.testing.assert_allclose(probabilities, wanted, atol=TOLERANCE)
    assert (probabilities.argmax(axis=1) == wanted.argmax(dim=1).numpy()).all()
    assert speech.tolist() == silero.speaks(waveform.numpy()).tolist()


@pytest.mark.parametrize("samples", [800, 1_600, 2_500, 5_000, 8_000, 30_000])
def test_speech_is_found_as_torch_finds_it_whatever_zeros_are_around(shipped, onnx_model, samples):
    voice = torch.from_numpy(synthetic_voice(0, 5, seed=9, seconds=2.0))[6_000:]
    for sound in (voice[:samples], torch.randn(samples), 0.1 * torch.randn(samples) + voice[:samples]):
        padded = torch.nn.functional.pad(sound, (1_024, 2_000))[None]
        (speech,) = onnx_model.session.run(["speech"], {"waveform": padded.numpy()})
        assert speech.tolist() == silero.speaks(padded.numpy()).tolist() == SpeechDetector()(padded).tolist()


def test_the_file_says_what_it_is(exported, onnx_model, shipped):
    assert onnx_model.labels == shipped.labels
    assert onnx_model.sample_rate == SAMPLE_RATE
    about = onnx_model.metadata
    assert about["window_samples"] == "48000"
    assert about["sha256"] == hashlib.sha256(checkpoint.weights_file().read_bytes()).hexdigest()
    assert about["licence"] == licence()
    assert about["opset"] == "18"
    (given,) = onnx_model.session.get_inputs()
    assert (given.name, given.shape) == ("waveform", ["batch", "samples"])
    outs = {out.name: out.shape for out in onnx_model.session.get_outputs()}
    assert outs == {"probabilities": ["batch", 8], "speech": ["batch"]}


@pytest.mark.ravdess
def test_half_the_size_names_the_same_emotions(onnx_model, ravdess_paths, tmp_path):
    assert export.main(["--half", str(tmp_path / "half.onnx")]) == 0
    # 3.6 MB; with an index of each sample or weights in 32 bits it is larger
    assert (tmp_path / "half.onnx").stat().st_size < 3.8e6
    half = OnnxModel(tmp_path / "half.onnx", threads=1)
    assert half.metadata == onnx_model.metadata | {"half": "True"}
    clips = ravdess_paths[::18]
    assert len(clips) == 80
    for ours, theirs in zip(half.predict_many(clips), onnx_model.predict_many(clips), strict=True):
        assert ours.emotion == theirs.emotion
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=2e-3)


@pytest.mark.parametrize("seconds", [0.3, 1.9, 7.5, 9.02])
def test_onnx_predicts_as_torch_does(shipped, onnx_model, tmp_path, monkeypatch, seconds):
    monkeypatch.setattr("ser_gpu.audio.samples.PIECE_SECONDS", 9.0)
    voices = [synthetic_voice(emotion, 2, seed=emotion, seconds=1.7) for emotion in (1, 4, 6)]
    sound = np.resize(np.concatenate(voices), round(seconds * SAMPLE_RATE))
    soundfile.write(tmp_path / "a.flac", np.stack([sound, 0.5 * sound], axis=1), SAMPLE_RATE)
    ours, theirs = onnx_model.predict(tmp_path / "a.flac"), shipped.predict(tmp_path / "a.flac")
    assert ours.emotion == theirs.emotion
    assert ours.probabilities == pytest.approx(theirs.probabilities, abs=TOLERANCE)
    assert onnx_model.predict((SAMPLE_RATE, sound)).probabilities == pytest.approx(ours.probabilities, abs=0.05)


def test_a_file_that_is_no_model_is_named(tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"no")
    for path in ("no.onnx", "missing.onnx"):
        with pytest.raises(ValueError, match=path):
            OnnxModel(tmp_path / path)


def test_onnx_needs_no_torch(speaker_file, speaker_model, tmp_path):
    script = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchaudio", "filelock"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
from ser_gpu.onnx import OnnxModel
model = OnnxModel({str(speaker_file)!r})
print(model.predict({str(SAMPLE)!r}).emotion)
print(model.timeline({str(SAMPLE)!r}).segments[0].emotion)
from ser_gpu.cli.main import main
given = ["--weights", {str(speaker_file)!r}, "--json", {str(SAMPLE)!r}]
voice = {str(tmp_path / "a.voice")!r}
sys.exit(main(["enrol", "--out", voice, *given]) or main(["predict", "--voice", voice, *given]))
"""
    done = ran("-c", script)
    assert done.returncode == 0, done.stderr
    emotion, of_timeline, enrolled, line = done.stdout.splitlines()
    assert emotion == of_timeline == speaker_model.predict(SAMPLE).emotion
    assert json.loads(enrolled)["recordings"] == 1
    wanted = speaker_model.predict(SAMPLE, voice=speaker_model.enrol([SAMPLE]))
    assert json.loads(line)["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-6)


@pytest.mark.parametrize("emotions", [None, "neutral", ["sad", "sad", "happy", "sad"]])
def test_onnx_enrols_as_torch_does(adaptable, speaker_model, emotions):
    theirs, ours = (model.enrol(speakers_clips(1), emotions) for model in (adaptable, speaker_model))
    # of statistics about 1: float32 sums in another order
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-5)
    np.testing.assert_allclose(ours.variance, theirs.variance, rtol=1e-4)
    assert (ours.head is None) == (theirs.head is None) == (not emotions or isinstance(emotions, str))
    if theirs.head is not None:  # four digits are kept
        np.testing.assert_allclose(ours.head, theirs.head, rtol=1e-2, atol=1e-3 * np.abs(theirs.head).max())
    for name in ("model", "recordings", "windows", "emotions"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.seconds == pytest.approx(theirs.seconds)


def test_a_network_whose_last_layer_takes_no_head_is_exported(tmp_path, monkeypatch):
    monkeypatch.setitem(cnn.NETWORKS, "plain", PlainHead)
    model = SpeechEmotionModel(ModelConfig(cnn=CnnConfig(network="plain"), tta=TtaConfig(enabled=False))).eval()
    onnx.to_onnx(model, tmp_path / "plain.onnx", speaker=True)
    exported = OnnxModel(tmp_path / "plain.onnx", threads=1)
    voice = exported.enrol(speakers_clips(1), EMOTIONS[:4])
    assert voice.head is None
    clip = speakers_clips(3)[0]
    wanted = model.predict(clip, voice=voice).probabilities
    assert exported.predict(clip, voice=voice).probabilities == pytest.approx(wanted, abs=TOLERANCE)


def test_onnx_takes_voices_as_torch_does(adaptable, speaker_model, tmp_path):
    alice, bob = speaker_model.enrol(speakers_clips(1)), speaker_model.enrol(speakers_clips(6), EMOTIONS[:4])
    alice.save(tmp_path / "alice.voice")
    clips, voices = speakers_clips(3), [Voice.load(tmp_path / "alice.voice"), None, bob, alice]
    answers = list(speaker_model.predict_many(clips, voice=voices))
    for clip, voice, ours in zip(clips, voices, answers, strict=True):
        theirs = adaptable.predict(clip, voice=voice)
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=TOLERANCE)
        assert ours.speech_seconds == pytest.approx(theirs.speech_seconds)
    without = speaker_model.predict(clips[0]).probabilities
    assert answers[0].probabilities != pytest.approx(without, abs=100 * TOLERANCE)


@torch.inference_mode()
@pytest.mark.parametrize(("clips", "samples"), [(1, 800), (32, 20_000), (3, 100_000)])
def test_a_speaker_file_answers_any_batch_and_length(adaptable, speaker_model, clips, samples):
    waveform, voice = sounds(clips, samples), adaptable.enrol(speakers_clips(1))
    for known in (None, voice):
        probabilities, _ = speaker_model.probabilities(waveform.numpy(), known)
        wanted = torch.from_numpy(adaptable.with_voice(known).answer(waveform.numpy()))
        np.testing.assert_allclose(probabilities, wanted, atol=TOLERANCE)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("backend", ["adaptable", "speaker_model"])
def test_a_copy_answers_as_the_model(backend, copied, request):
    model, clip = request.getfixturevalue(backend), speakers_clips(3)[0]
    voice = model.enrol(speakers_clips(1), EMOTIONS[:4])
    assert copied(model).predict(clip, voice=copied(voice)) == model.predict(clip, voice=voice)
    assert copied(model.with_voice(voice)).predict(clip) == model.with_voice(voice).predict(clip)
    sound, stream = load(SAMPLE, SAMPLE_RATE).numpy(), model.stream(SAMPLE_RATE // 2, voice)
    assert not stream.push(sound[:20_000])
    other = copied(stream)
    assert other.push(sound) + other.close() == stream.push(sound) + stream.close()


def test_a_child_that_is_forked_after_an_answer_answers_too(speaker_file):
    script = f"""
import multiprocessing, sys, torch
import ser_gpu
from ser_gpu.onnx import OnnxModel
torch.set_num_threads(2)
models = ser_gpu.load_model(device="cpu"), OnnxModel({str(speaker_file)!r}, threads=2)
def answers():
    return [each.emotion for model in models for each in model.predict_many([{str(SAMPLE)!r}] * 3)]
before = answers()
ours, theirs = multiprocessing.Pipe()
child = multiprocessing.get_context("fork").Process(target=lambda: theirs.send(answers()), daemon=True)
child.start()
sys.exit(0 if ours.poll(120) and ours.recv() == before else "the child does not answer")
"""
    done = ran("-c", script, env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"})
    assert done.returncode == 0, done.stderr


def test_onnxruntime_gets_the_threads_of_this_process_and_is_new_enough(exported, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    assert OnnxModel(exported)._threads == 1
    monkeypatch.setattr(onnxruntime, "__version__", "1.18.1")
    with pytest.raises(ValueError, match=r"onnxruntime 1.18.1 is too old for exported files, which need 1.19 or newer"):
        OnnxModel(exported)


def test_onnx_has_the_timeline_of_torch(adaptable, speaker_model):
    # to silero-vad the sample is speech, which the synthetic voices are not
    sample = load(SAMPLE, SAMPLE_RATE).numpy()
    long_recording = np.concatenate([np.pad(sample, (0, silence)) for silence in (8_000, 4_800, 24_000, 6_400)])
    voice = adaptable.enrol(speakers_clips(1))
    for known in (None, voice):
        theirs, ours = (model.timeline(long_recording, voice=known) for model in (adaptable, speaker_model))
        assert sum(segment.speech for segment in ours.stretches) >= 4
        for mine, yours in zip(ours.stretches, theirs.stretches, strict=True):
            assert (mine.start, mine.end, mine.speech) == (yours.start, yours.end, yours.speech)
            assert mine.probabilities == pytest.approx(yours.probabilities, abs=TOLERANCE)
    stream = speaker_model.stream(voice=voice)
    assert (*stream.push(long_recording), *stream.close()) == ours.stretches


def test_a_voice_that_does_not_fit_is_refused_in_one_line(exported, onnx_model, speaker_model, tmp_path, capsys):
    voice = speaker_model.enrol(speakers_clips(1))
    voice.save(tmp_path / "alice.voice")
    another = dataclasses.replace(voice, model="another")
    for message, refused in (
        ("takes no voice", lambda: onnx_model.predict(SAMPLE, voice=voice)),
        ("cannot enrol", lambda: onnx_model.enrol([SAMPLE])),
        ("enrolled with another model", lambda: speaker_model.predict(SAMPLE, voice=another)),
    ):
        with pytest.raises(VoiceError, match=message):
            refused()
    assert main(["predict", "--weights", str(exported), "--voice", str(tmp_path / "alice.voice"), str(SAMPLE)]) == 2
    one_line(capsys, "alice.voice: the .onnx file takes no voice")


def test_no_file_names_the_folders_of_this_machine(exported, speaker_file, pt2_file):
    with zipfile.ZipFile(pt2_file) as archive:
        programs = [archive.read(name) for name in archive.namelist()]
    for content in (exported.read_bytes(), speaker_file.read_bytes(), *programs):
        assert str(ROOT).encode() not in content


def test_pt2_is_the_same_to_the_last_bits(small, pt2_file):
    program = torch.export.load(pt2_file).module()
    for clips, samples in ((1, 800), (32, 20_000), (2, 100_001)):
        waveform = sounds(clips, samples)
        with torch.inference_mode():
            probabilities, speech = program(waveform)
        torch.testing.assert_close(probabilities, expected(small, waveform, tta=False), atol=1e-6, rtol=0)
        assert speech.tolist() == silero.speaks(waveform.numpy()).tolist()


@pytest.fixture
def hub_folder(tmp_path, capsys) -> Path:
    assert export.main(["--hub", str(tmp_path)]) == 0
    return tmp_path


def test_a_hub_folder_holds_the_model_and_its_card(hub_folder, small):
    yaml = pytest.importorskip("yaml")
    assert sorted(path.name for path in hub_folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert len({path.stat().st_mode for path in hub_folder.iterdir()}) == 1  # all can be read by those who may read one
    shipped, waveform = ser_gpu.load_model(device="cpu"), sounds(2, 20_000)
    with torch.inference_mode():
        assert torch.equal(hub.HubModel.from_pretrained(hub_folder)(waveform), shipped(waveform))
    metadata = yaml.safe_load((hub_folder / "README.md").read_text().split("---\n")[1])
    assert metadata["pipeline_tag"] == "audio-classification"
    assert metadata["license"] == hub.LICENCES.get(licence(), "other")
    assert "## Responsible use" in (hub_folder / "README.md").read_text()
    hub.write(hub_folder, small, Provenance({"name": "stratified", "fold": 0}, "a" * 64, 0), "my own")
    assert yaml.safe_load((hub_folder / "README.md").read_text().split("---\n")[1])["license_name"] == "my own"
    (hub_folder / "config.json").write_text("{}")
    with pytest.raises(checkpoint.CheckpointError, match="not a folder of ser_gpu"):
        hub.HubModel.from_pretrained(hub_folder)


@torch.inference_mode()
def test_a_hub_folder_outlives_the_code(hub_folder):
    place = hub_folder / "config.json"
    config, waveform = json.loads(place.read_text()), sounds(2, 20_000)
    assert config["format_version"] == checkpoint.FORMAT_VERSION
    wanted = hub.HubModel.from_pretrained(hub_folder)(waveform)
    del config["format_version"]  # as older folders have none
    place.write_text(json.dumps(config))
    assert torch.equal(hub.HubModel.from_pretrained(hub_folder)(waveform), wanted)
    place.write_text(json.dumps(config | {"format_version": 99}))
    with pytest.raises(checkpoint.CheckpointError, match=r"format 99, this version of ser_gpu reads 1 to"):
        hub.HubModel.from_pretrained(hub_folder)


def test_weights_that_began_with_others_keep_their_licence(small, tmp_path, capsys, monkeypatch):
    written = []
    monkeypatch.setattr(onnx, "to_pt2", lambda model, path, tta, **about: written.append(about) or Path(path).touch())
    for name, inherited, said, licence in (
        ("own, ravdess", None, "CC BY-NC-SA 4.0", "cc-by-nc-sa-4.0"),  # as older checkpoints have it
        ("own", "CC BY-NC-SA 4.0", "CC BY-NC-SA 4.0", "cc-by-nc-sa-4.0"),
        ("crema_d, ravdess", None, "RAVDESS speech: CC BY-NC-SA 4.0; CREMA-D: Open Database License", "other"),
        ("own", None, None, "other"),
    ):
        provenance = Provenance({"name": "stratified", "fold": 0, "corpus": name}, "a" * 64, 0, licence=inherited)
        checkpoint.save(tmp_path / "child.pth", small, provenance)
        assert export.main([str(tmp_path / "child.pth"), str(tmp_path / "child.pt2")]) == 0
        assert set((said or "").split("; ")) == set((written[-1]["licence"] or "").split("; "))
        assert ("note: licence of what these weights learnt from: " in capsys.readouterr().err) == bool(said)
        card = huggingface_hub.ModelCard(
            hub.card(small, *checkpoint.load(tmp_path / "child.pth", "cpu")[1:], written[-1]["licence"])
        )
        assert (card.data.license, card.data.datasets) == (licence, name.split(", "))
        assert f"Licence of the weights: {written[-1]['licence'] or 'not stated'}." in card.text
        assert export.main([str(tmp_path / "child.pth"), str(tmp_path / "child.pt2"), "--licence", "MIT"]) == 0
        assert written[-1]["licence"] == (f"MIT, learnt from {written[-2]['licence']}" if said else "MIT")
        capsys.readouterr()


def test_a_library_of_the_hub_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch, capsys):
    for name in ("huggingface_hub", "safetensors"):
        monkeypatch.delitem(sys.modules, "ser_gpu.exports.hub", raising=False)
        monkeypatch.delattr("ser_gpu.exports.hub", raising=False)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            assert export.main(["--hub", str(tmp_path)]) == 2
        assert f"{name} is not installed: pip install 'ser_gpu[export]'" in capsys.readouterr().err


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path, small, capsys, monkeypatch):
    for arguments, message in (
        (["a.txt"], "must end in .onnx or .pt2"),
        (["missing.pth", "a.onnx"], "missing.pth: no such checkpoint"),
        (["--speaker", "a.pt2"], "--speaker is for an .onnx file"),
        (["--half", "--hub", "folder"], "--half is for an .onnx file"),
    ):
        assert export.main(arguments) == 2
        one_line(capsys, message)
    config = dataclasses.replace(small.config, mel=dataclasses.replace(small.config.mel, backend="conv"))
    with pytest.raises(ValueError, match="cannot be exported"):
        onnx.ExportedModel(SpeechEmotionModel(config))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ser_gpu\[export\]'"):
        onnx.to_onnx(small, tmp_path / "a.onnx")


@pytest.mark.parametrize("name", ["README.md", "docs/export.md"])
def test_the_lines_of_the_page_work(name, exported, tmp_path, monkeypatch, capsys):
    page = (ROOT / name).read_text(encoding="utf-8")
    block = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "InferenceSession" in block)
    shutil.copy(exported, tmp_path / "model.onnx")
    # as recorders write it: without mixing, or at another rate, it is another emotion or an error
    sound = resample(load(SAMPLE, SAMPLE_RATE).numpy(), SAMPLE_RATE, 48_000)
    soundfile.write(tmp_path / "clip.wav", np.stack([sound, 0.5 * sound], axis=1), 48_000)
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    emotion, *probabilities = capsys.readouterr().out.splitlines()
    prediction = ser_gpu.load_model(device="cpu").predict(SAMPLE)
    assert emotion == prediction.emotion
    if name == "docs/export.md":
        (printed,) = map(ast.literal_eval, probabilities)
        # half a thousandth is the rounding; the sound was resampled to 48 kHz and back
        assert printed == pytest.approx(prediction.probabilities, abs=0.002)
    else:
        assert not probabilities


def test_the_program_in_javascript_answers_too(exported, tmp_path):
    (program,) = re.findall(r"```javascript\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    assert json.dumps(EMOTIONS) in program, "the labels of the shipped model"
    modules = ROOT / "app" / "node_modules"
    if not (shutil.which("node") and (modules / "onnxruntime-web").is_dir()):
        pytest.skip("needs node, and npm ci in app/")
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "answer.mjs").write_text(program)
    shutil.copy(exported, tmp_path / "model.onnx")
    load(SAMPLE, SAMPLE_RATE).numpy().tofile(tmp_path / "clip.f32")
    done = subprocess.run(["node", "answer.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    emotion, probabilities = done.stdout.splitlines()
    prediction = ser_gpu.load_model(device="cpu").predict(SAMPLE)
    assert emotion == prediction.emotion
    printed = {label: float(value) for label, value in (pair.split() for pair in probabilities.split(", "))}
    assert printed == pytest.approx(prediction.probabilities, abs=0.002)  # as above
