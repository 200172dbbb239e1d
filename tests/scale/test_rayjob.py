"""The RayJob of the examples has a command that score understands."""

import shlex
from pathlib import Path

import pytest
import yaml

from ser_gpu import score

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def job():
    return yaml.safe_load((ROOT / "examples" / "rayjob.yaml").read_text())


def test_the_rayjob_runs_score(job):
    program, command, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (program, command) == ("ser-gpu", "score")
    args = score._parser().parse_args(arguments)
    assert (args.address, args.gpus) == ("auto", 0.5)
