"""The command that writes the page and serves it; the page itself is tested in a browser, by test_page.py."""

import gzip
import json
import re
import runpy
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from ser_gpu import app
from ser_gpu.audio.samples import load
from ser_gpu.audio.silero import SpeechProbability
from ser_gpu.exports import onnx, page
from tests.conftest import ROOT, SAMPLE

PAGE_FILES = ("index.html", "style.css", "main.js", "worker.js", "sample.wav", "onnxruntime-license.txt")


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A folder in the place of npm's packages, and an exporter that takes no time; what was exported."""
    exported = []
    helper = pytest.importorskip("onnx", reason="pip install 'ser_gpu[export]'").helper
    for path in map(tmp_path.joinpath, page.LIBRARIES.values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("runtime")
    monkeypatch.setattr(page, "libraries_folder", lambda: tmp_path)

    def write(model, path, **settings):
        exported.append(settings)
        values = [helper.make_tensor_value_info(name, 1, [1]) for name in ("waveform", "probabilities", "speech")]
        nodes = [helper.make_node("Identity", ["waveform"], [each.name]) for each in values[1:]]
        graph = helper.make_graph(nodes, "model", values[:1], values[1:])
        path.write_bytes(helper.make_model(graph).SerializeToString())

    monkeypatch.setattr(onnx, "to_onnx", write)
    return exported


def test_the_page_is_written_whole_and_a_model_once(runtime, tmp_path, capsys):
    site = tmp_path / "site"
    for arguments in ([], [], ["--no-tta"]):
        assert app.main(["--out", str(site), *arguments]) == 0
    assert [(each["tta"], each["speaker"]) for each in runtime] == [(True, True), (False, True)]
    assert all(each["half"] for each in runtime)
    assert all((site / name).is_file() for name in (*PAGE_FILES, "model.onnx", "speech.onnx"))
    assert (site / "sample.wav").read_bytes() == SAMPLE.read_bytes()
    assert (site / "responsible-use.txt").read_bytes() == (ROOT / "docs" / "responsible-use.md").read_bytes()
    assert sorted(f"{path.parent.name}/{path.name}" for path in site.glob("*/*")) == sorted(page.LIBRARIES)
    about = json.loads((site / "model.json").read_text())
    assert (about["sample_rate"], about["window_samples"], about["tta"]) == (16_000, 48_000, False)
    assert about["licence"] == runtime[0]["licence"]
    sizes = {path.relative_to(site).as_posix(): path.stat().st_size for path in site.rglob("*.*")}
    sizes.pop("model.json")
    assert about["bytes"] == sizes
    graph = onnx.extra("onnx", "export").load(site / "model.onnx").graph
    assert [each.name for each in graph.output] == ["probabilities"]  # the page has a detector of its own
    assert len(about["speaker"]["population"]["mean"]) == len(about["speaker"]["population"]["variance"])


def test_the_page_names_its_own_files_and_a_version_that_changes_with_them(runtime, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "notes.txt").write_text("of somebody else")
    versions = [json.loads((page.build(site) / "model.json").read_text())["version"] for _ in range(2)]
    assert versions[0] == versions[1]
    assert not any("notes" in name for name in json.loads((site / "model.json").read_text())["bytes"])
    (tmp_path / next(iter(page.LIBRARIES.values()))).write_text("another runtime")
    assert json.loads((page.build(site) / "model.json").read_text())["version"] != versions[0]
    assert len(runtime) == 1


def test_a_model_of_another_exporter_is_not_kept(runtime, tmp_path, monkeypatch):
    page.build(tmp_path / "site")
    description = tmp_path / "site" / "model.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"exporter": "an older one"}))
    page.build(tmp_path / "site")
    monkeypatch.setattr(page, "__version__", "0.0.0")
    page.build(tmp_path / "site")
    assert len(runtime) == 3


def test_the_page_hears_speech_as_python_does(tmp_path):
    ort = pytest.importorskip("onnxruntime", reason="pip install 'ser_gpu[onnx]'")
    pytest.importorskip("onnx", reason="pip install 'ser_gpu[export]'")
    page._write_detector(tmp_path / "speech.onnx")
    session = ort.InferenceSession(tmp_path / "speech.onnx", providers=["CPUExecutionProvider"])
    waveform = load(SAMPLE, 16_000).numpy()[: 50 * 512]
    expected, _ = SpeechProbability()(waveform)
    before = np.pad(waveform, (64, 0))
    frames = np.lib.stride_tricks.sliding_window_view(before, 576)[::512]
    frames = np.concatenate([frames, frames[:, -2:-66:-1]], axis=1)  # reflected
    rows = np.lib.stride_tricks.sliding_window_view(frames, 256, axis=1)[:, ::128].reshape(-1, 256)
    zeros = np.zeros((1, 1, 128), np.float32)
    (speech,) = session.run(["speech"], {"rows": np.ascontiguousarray(rows), "h": zeros, "c": zeros})
    speech = speech.ravel()
    np.testing.assert_allclose(speech, expected, atol=1e-4)  # float32 sums in another order, over 50 steps
    assert expected.min() < 0.2 < 0.9 < expected.max()


def test_the_server_compresses_and_answers_again_only_what_changed(tmp_path):
    content = b"export default 1;\n" * 1_000
    (tmp_path / "a.mjs").write_bytes(content)
    with app.server(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://localhost:{server.server_port}/a.mjs"
        ask = urllib.request.Request(address, headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(ask) as answer:
            sent, headers = answer.read(), answer.headers
        with urllib.request.urlopen(address) as answer:
            assert (answer.read(), answer.headers["Content-Encoding"]) == (content, None)
        ask.add_header("If-Modified-Since", headers["Last-Modified"])
        with pytest.raises(urllib.error.HTTPError, match="304"):
            urllib.request.urlopen(ask)
        server.shutdown()
    assert (headers["Content-Type"], headers["Content-Length"]) == ("text/javascript", str(len(sent)))
    assert gzip.decompress(sent) == content
    assert len(sent) < len(content) / 10


def test_what_is_missing_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(page, "libraries_folder", lambda: tmp_path)
    assert app.main(["--out", str(tmp_path / "site")]) == 2
    said = capsys.readouterr().err
    assert "onnxruntime-web is not installed: run npm ci --omit=dev in " in said
    assert said.count("\n") == 1


def test_the_page_asks_for_nothing_from_elsewhere():
    for path in (path for suffix in ("html", "js", "css") for path in page.page_folder().glob(f"*.{suffix}")):
        assert not re.search(r"https?://", path.read_text(encoding="utf-8")), path.name
    lock = json.loads((page.page_folder() / "package-lock.json").read_text(encoding="utf-8"))
    assert all("resolved" not in package for package in lock["packages"].values())


@pytest.mark.parametrize("module", [app, page])
def test_to_import_it_reads_no_disk(module, monkeypatch):
    for name in ("is_dir", "is_file", "exists", "resolve"):
        monkeypatch.setattr(Path, name, lambda path, name=name: pytest.fail(f"{name} of {path}"))
    runpy.run_path(module.__file__)


def test_a_port_that_cannot_be_or_is_busy_is_named_in_one_line(tmp_path, capsys):
    assert app.main(["--port", "99999"]) == 2
    assert capsys.readouterr().err == "error: --port must be between 0 and 65535, got 99999\n"
    with (
        app.server(tmp_path, 0) as first,
        pytest.raises(OSError, match=f"--port {first.server_port}: .*another --port"),
    ):
        app.server(tmp_path, first.server_port)
