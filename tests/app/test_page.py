"""The page in a real browser: `make test-app`. Skipped without SER_APP=1, since it takes a minute."""

import dataclasses
import json
import os
import shutil
import subprocess
import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ser_gpu
from ser_gpu import app
from ser_gpu.audio.samples import load, resample
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.exports import page
from ser_gpu.stages import prepared
from ser_gpu.voices.voice import Voice
from tests.conftest import SAMPLE, synthetic_voice

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
RATE = 16_000
PAUSES = (0.5, 0.3, 1.5, 0.4)  # s; to silero-vad the sample is speech, which the synthetic voices are not
ENROLLED = ("first", "sample", "second")
TALK_SECONDS = 600
CLIPS = 80


@pytest.fixture(scope="module")
def browser() -> str:
    if os.environ.get("SER_APP") != "1":
        pytest.skip("make test-app runs the page in a browser")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    playwright = page.page_folder() / "node_modules" / "playwright-core"
    if not (found and shutil.which("node") and playwright.is_dir()):
        pytest.skip("the page needs chromium, node, and npm ci in app/")
    return found


@pytest.fixture(scope="module")
def address():
    site = page.build(page.site_folder())
    with app.server(site, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


def recordings(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """What the page is given, and which kinds of it are compressed."""
    samples = load(SAMPLE, RATE).numpy()  # at the model's rate: a browser's resampler is another one than ours
    sounds = {
        "sample": samples,
        "long": np.concatenate([np.pad(samples, (0, round(pause * RATE))) for pause in PAUSES]),
        "talk": np.resize(np.pad(samples, (0, RATE // 2)), TALK_SECONDS * RATE),
        "minute": _minute(samples),
        "first": synthetic_voice(4, 3, seed=4, seconds=2.0),
        "second": synthetic_voice(2, 3, seed=2, seconds=7.0),
        "silence": np.zeros(2 * RATE, np.float32),
        "noise": np.random.default_rng(0).normal(size=3 * RATE).astype(np.float32) / 10,
        "short": samples[:320],
        "microphone": np.pad(samples, (RATE // 4, RATE)),
    }
    files = {"text": folder / "notes.wav"}
    files["text"].write_text("this is no audio")
    for name, sound in sounds.items():
        files[name] = folder / f"{name}.wav"
        soundfile.write(files[name], sound, RATE, subtype="PCM_16")
    compressed = ["flac", "mp3", "cancels.wav"] + ["webm", "m4a"] * bool(shutil.which("ffmpeg"))
    for kind in compressed:
        files[kind] = folder / f"sample.{kind}"
        if kind == "cancels.wav":  # the mean of its channels is silence
            soundfile.write(files[kind], np.stack([samples, -samples], axis=1), RATE)
        elif kind in ("flac", "mp3"):
            soundfile.write(files[kind], samples, RATE)
        else:
            _ffmpeg("-i", SAMPLE, files[kind])
    two_minutes = np.resize(np.pad(samples, (0, RATE // 2)), 2 * 60 * RATE)
    files["mp3 in parts"] = folder / "parts.mp3"
    soundfile.write(files["mp3 in parts"], resample(two_minutes, RATE, 44_100), 44_100)
    files["mp3 of ten minutes"] = folder / "talk.mp3"
    files["mp3 of ten minutes"].write_bytes(_ten_minutes(samples))
    for kind, codec in {"flac": "flac", "m4a": "aac", "ogg": "libvorbis", "webm": "libopus"}.items():
        if "m4a" in compressed:
            files |= {f"{kind} {what}": folder / f"{what}.{kind}" for what in ("in parts", "of ten minutes")}
            rate = 48_000 if kind == "webm" else 44_100  # where packets begin between samples
            _ffmpeg("-i", files["mp3 in parts"], "-c:a", codec, "-ar", rate, files[f"{kind} in parts"])
            ten_seconds = folder / f"ten seconds.{kind}"
            _ffmpeg("-t", 10, "-i", files["mp3 of ten minutes"], "-c:a", codec, ten_seconds)
            again = () if kind == "flac" else ("-c", "copy")
            _ffmpeg("-stream_loop", TALK_SECONDS // 10 - 1, "-i", ten_seconds, *again, files[f"{kind} of ten minutes"])
    if "webm" in compressed:
        files["webm that breaks off"] = folder / "broken.webm"
        content = files["webm in parts"].read_bytes()
        files["webm that breaks off"].write_bytes(content[: 7 * len(content) // 10])  # within a cluster
    return files, compressed


def _ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", *map(str, arguments)], check=True)


def _ten_minutes(samples: np.ndarray) -> bytes:
    """An MP3 file in stereo at 48 kHz: ten seconds again and again, without the frame that says how long it is."""
    sound = np.resize(resample(samples, RATE, 48_000), 10 * 48_000)
    content = BytesIO()
    soundfile.write(content, np.stack([sound, np.roll(sound, 100)], axis=1), 48_000, format="MP3")
    found = content.getvalue()
    return found[found.index(found[:2], 4) :] * (TALK_SECONDS // 10)


def _minute(samples: np.ndarray) -> np.ndarray:
    """A minute with several emotions: the sample at other speeds."""
    voices = [resample(samples, RATE, round(RATE * speed)) for speed in (1.0, 0.6, 1.7)]
    parts = [np.pad(voices[at // 2 % 3], (0, round(RATE * PAUSES[at % 4]))) for at in range(40)]
    return np.concatenate(parts)[: 60 * RATE]


def _clips(folder: Path) -> list[Path]:
    """Of RAVDESS, spread over speakers and emotions, at the model's rate; none without RAVDESS_DIR."""
    known = sorted(Path(os.environ["RAVDESS_DIR"]).rglob("03-01-*.flac")) if "RAVDESS_DIR" in os.environ else []
    found = []
    for path in known[:: max(1, len(known) // CLIPS)][:CLIPS]:
        found.append(folder / f"{path.stem}.wav")
        soundfile.write(found[-1], load(path, RATE).numpy(), RATE, subtype="FLOAT")
    return found


def test_the_page(browser, address, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "multiplies_bfloat16", lambda: False)  # the page answers in float32
    files, compressed = recordings(tmp_path)
    model = ser_gpu.load_model(device="cpu")
    voice = model.enrol([files[name] for name in ENROLLED])
    named = model.enrol([files[name] for name in ENROLLED], EMOTIONS[: len(ENROLLED)])
    voices = {"voice": voice, "named": named, "another": dataclasses.replace(voice, model="0")}
    voices |= {"spoilt": dataclasses.replace(voice, variance=-voice.variance)}
    voices |= {"narrow": dataclasses.replace(named, head=named.head[:, 1:])}
    for name, each in voices.items():
        files[name] = tmp_path / f"{name}.voice"
        each.save(files[name])
    expected = {name: model.predict(files[name]) for name in ("sample", "long")}
    expected |= {name: model.predict(files["sample"], voice=voices[name]) for name in ("voice", "named")}
    talk = model.timeline(files["talk"]).segments
    clips = _clips(tmp_path)
    given = {
        "url": address,
        "clips": [(str(path), answer.emotion) for path, answer in zip(clips, model.predict_many(clips), strict=True)],
        "chromium": browser,
        "modules": str(page.page_folder() / "package.json"),
        "files": {name: str(path) for name, path in files.items()},
        "compressed": compressed,
        "enrolled": ENROLLED,
        "expected": {name: vars(prediction) for name, prediction in expected.items()},
        "meant": EMOTIONS[: len(ENROLLED)],
        "talk": {
            "seconds": TALK_SECONDS,
            "segments": len(talk),
            "ends": [(at, talk[at].as_dict()["probabilities"]) for at in (0, -1)],
        },
        "timeline": [segment.as_dict() for segment in model.timeline(files["long"]).segments],
        "taught": str(tmp_path / "taught.voice"),
        "screenshots": os.environ.get("SER_APP_SCREENSHOTS"),
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    command = ["node", "--test", "--test-reporter=spec", str(Path(__file__).parent / "page.test.mjs")]
    environment = os.environ | {"SER_APP_GIVEN": str(tmp_path / "given.json")}
    assert subprocess.run(command, env=environment, timeout=3_000).returncode == 0, "see what node says"
    taught = Voice.load(tmp_path / "taught.voice")
    assert taught.recordings == 8
    assert model.predict(files["sample"], voice=taught).emotion in model.labels
