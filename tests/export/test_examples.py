"""The Gradio example, the RayJob, and the cards that go to the Hugging Face Hub, without a connection."""

import runpy
import shlex
import sys
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import soundfile
import yaml

import ser_gpu
from ser_gpu import checkpoint, score
from ser_gpu.exports import hub, onnx
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
METADATA = {
    "pipeline_tag": "audio-classification",
    "license": "other",
    "metrics": ["accuracy", "recall", "f1"],
    "library_name": "ser_gpu",
}


def test_the_gradio_example_answers_what_gradio_gives_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace(Error=RuntimeError, Interface=object))
    answer = runpy.run_path(str(EXAMPLES / "gradio_app.py"))["answer"]
    samples, rate = soundfile.read(EXAMPLES / "sample.wav", dtype="int16")
    probabilities = answer((rate, np.stack([samples, samples], axis=1)))
    expected = ser_gpu.load_model().predict(EXAMPLES / "sample.wav")
    assert max(probabilities, key=probabilities.get) == expected.emotion
    for recording, message in ((None, "Record a sentence"), ((rate, np.zeros(rate, np.int16)), "no speech found")):
        with pytest.raises(RuntimeError, match=message):
            answer(recording)


def test_the_cards_hold_what_the_hub_asks_for():
    weights = checkpoint.weights_file()
    model, provenance = checkpoint.load(weights, "cpu")
    card = huggingface_hub.ModelCard(hub.card(model, provenance, onnx.licence_of(provenance)))
    space = huggingface_hub.SpaceCard((EXAMPLES / "gradio_space.md").read_text(encoding="utf-8"))
    assert METADATA.items() <= card.data.to_dict().items()
    assert METADATA.items() <= space.data.to_dict().items()
    assert space.data.to_dict()["sdk"] == "gradio"
    assert (EXAMPLES / space.data.to_dict()["app_file"]).is_file()


def test_the_rayjob_runs_score(monkeypatch):
    job = yaml.safe_load((EXAMPLES / "rayjob.yaml").read_text())
    program, command, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (program, command) == ("ser-gpu", "score")
    monkeypatch.setattr(score, "run", lambda args: int((args.address, args.gpus) != ("auto", 0.5)))
    assert score.main(arguments) == 0
