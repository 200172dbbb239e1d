"""The page in a real browser: `make test-app`. Skipped without SER_APP=1, since it takes a minute."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ser_gpu
from ser_gpu import app
from ser_gpu.audio.waveform import load
from tests.conftest import synthetic_voice

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "examples" / "sample.wav"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
RATE = 16_000


@pytest.fixture(scope="module")
def browser() -> str:
    if os.environ.get("SER_APP") != "1":
        pytest.skip("make test-app runs the page in a browser")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None or shutil.which("node") is None or not (app.PAGE / "node_modules" / "playwright-core").is_dir():
        pytest.skip("the page needs chromium, node, and npm ci in app/")
    return found


@pytest.fixture(scope="module")
def address():
    site = app.build(app.SITE)
    with app.server(site, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


def recordings(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """What the page is given, and which kinds of it are compressed."""
    noise = np.random.default_rng(0).normal(size=3 * RATE).astype(np.float32) / 10
    voices = [synthetic_voice(emotion, 3, seed=emotion, seconds=2.0) for emotion in (4, 2, 6, 0)]
    samples = load(SAMPLE, RATE).numpy()  # at the model's rate: a browser's resampler is another one than ours
    sounds = {
        "sample": (samples, RATE),
        "long": (np.concatenate([samples, *voices]), RATE),
        "silence": (np.zeros(2 * RATE, np.float32), RATE),
        "noise": (noise, RATE),
        "short": (samples[:320], RATE),
        "microphone": (np.pad(samples, (RATE // 4, RATE)), RATE),
    }
    files = {"text": folder / "notes.wav"}
    files["text"].write_text("this is no audio")
    for name, (sound, sound_rate) in sounds.items():
        files[name] = folder / f"{name}.wav"
        soundfile.write(files[name], sound, sound_rate, subtype="PCM_16")
    compressed = ["flac", "mp3"]
    for kind in compressed:
        files[kind] = folder / f"sample.{kind}"
        soundfile.write(files[kind], samples, RATE)
    if shutil.which("ffmpeg"):
        for kind in ("webm", "m4a"):
            files[kind] = folder / f"sample.{kind}"
            flags = ["-loglevel", "error", "-y", "-i", str(SAMPLE)]
            subprocess.run(["ffmpeg", *flags, str(files[kind])], check=True)
        compressed += ["webm", "m4a"]
    return files, compressed


def test_the_page(browser, address, tmp_path):
    files, compressed = recordings(tmp_path)
    model = ser_gpu.load_model(device="cpu")
    given = {
        "url": address,
        "chromium": browser,
        "modules": str(app.PAGE / "package.json"),
        "files": {name: str(path) for name, path in files.items()},
        "compressed": compressed,
        "expected": {name: vars(model.predict(files[name])) for name in ("sample", "long")},
        "screenshots": os.environ.get("SER_APP_SCREENSHOTS"),
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    command = [
        "node",
        "--test",
        "--test-reporter=spec",
        str(Path(__file__).parent / "page.test.mjs"),
    ]
    environment = os.environ | {"SER_APP_GIVEN": str(tmp_path / "given.json")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    print(done.stdout, done.stderr, file=sys.stderr)
    assert done.returncode == 0, done.stdout[-6_000:]
