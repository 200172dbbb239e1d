"""What a fresh process loads when it imports a part of the package: no more than that part needs."""

import json

import pytest

from tests.conftest import ran

WATCH = """
import json, sys
import ser_gpu
before, opened = set(sys.modules), []
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
{}
loaded = sorted(set(sys.modules) - before)
print(json.dumps([loaded, [path for path in opened if not path.endswith((".py", ".pyc", ".so"))]]))
"""
HEAVY = {"torch", "torchaudio", "numpy", "sklearn", "scipy", "librosa", "soundfile", "soxr", "pooch", "requests"}
CORPORA = "import ser_gpu.corpora.find, ser_gpu.corpora.manifest, ser_gpu.corpora.splits; ser_gpu.corpora.names()"
SPLITS = "audio audio.formats corpora corpora.clip corpora.known corpora.ravdess corpora.splits errors"
HELP = "from ser_gpu.cli.main import main; sys.stdout = None; main(['--help']); sys.stdout = sys.__stdout__"
TIMELINE = """
import numpy as np
from types import SimpleNamespace as Model
from ser_gpu.audio.silero import detector
from ser_gpu.timeline import timeline
model = Model(labels=("sad", "calm"), sample_rate=16_000, window_seconds=3.0, hear=detector())
assert timeline(model, np.zeros(160_000)).seconds == 10
"""


@pytest.mark.parametrize(
    ("code", "heavy", "ours"),
    [
        (CORPORA, "", None),
        ("import ser_gpu.corpora.clip", "", "corpora corpora.clip errors"),
        ("import ser_gpu.corpora.splits", "", SPLITS),
        ("import ser_gpu.audio.samples, ser_gpu.audio.folder", "numpy", None),
        (HELP, "", None),
        ("import ser_gpu.stages.mel", "numpy torch", "config errors settings stages stages.mel"),
        (TIMELINE, "numpy soundfile soxr", None),
    ],
)
def test_a_part_loads_what_it_needs(code, heavy, ours):
    done = ran("-B", "-c", WATCH.format(code))
    assert done.stderr == "", done.stderr
    loaded, opened = json.loads(done.stdout)
    assert HEAVY & {name.partition(".")[0] for name in loaded} <= set(heavy.split())
    if ours is not None:
        assert [name for name in loaded if name.startswith("ser_gpu.")] == [f"ser_gpu.{name}" for name in ours.split()]
    if "corpora" in code:
        assert opened == []
