"""The files around the package say the same as the package."""

import hashlib
import os
import tomllib
from pathlib import Path

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ser_gpu
from ser_gpu import checkpoint
from ser_gpu.data.protocols import Protocol

ROOT = Path(__file__).parent.parent
WEIGHTS = ROOT / "weights" / "ser_ravdess.pth"


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_yml_asks_for_what_pyproject_asks_for(project):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == [*project["dependencies"], "-e ."]
    (python,) = [e for e in environment["dependencies"] if isinstance(e, str) and e.startswith("python=")]
    assert python.removeprefix("python=") in Requirement(f"python{project['requires-python']}").specifier


def test_the_lock_pins_every_requirement_within_its_range(project):
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line]
    pinned = {canonicalize_name(r.name): r for r in map(Requirement, lines)}
    assert all(str(r.specifier).startswith("==") for r in pinned.values())
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, asked):
        version = str(pinned[canonicalize_name(requirement.name)].specifier).removeprefix("==")
        assert version in requirement.specifier


def test_the_shipped_weights_take_raw_audio():
    model = ser_gpu.load_model(WEIGHTS)
    assert model(torch.zeros(4, 48_000)).shape == (4, 8)
    assert model.labels == ser_gpu.EMOTIONS


def test_the_shipped_weights_know_their_split(clips):
    _, provenance = checkpoint.load(WEIGHTS)
    assert provenance.protocol == Protocol("stratified", 0)
    assert provenance.manifest_hash == provenance.protocol.split(clips).manifest_hash


def test_the_checksums_cover_every_checkpoint():
    lines = (ROOT / "weights" / "SHA256SUMS").read_text().splitlines()
    stated = dict(line.split("  ")[::-1] for line in lines)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in WEIGHTS.parent.glob("*.pth")}
    assert stated == found


@pytest.mark.skipif(not (ROOT / ".ci" / "run").exists(), reason="not a checkout")
def test_the_ci_script_can_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
