"""The files around the package say the same as the package."""

import ast
import hashlib
import subprocess
import tomllib
from graphlib import TopologicalSorter

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ser_gpu
from ser_gpu import checkpoint
from ser_gpu.corpora.splits import Protocol
from tests.conftest import ROOT

WEIGHTS = ROOT / "weights" / "ser_ravdess.pth"


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(project, *extras):
    """What these extras and the package itself ask for, extras of extras followed."""
    found = list(map(Requirement, project["dependencies"]))
    for extra in extras:
        for requirement in map(Requirement, project["optional-dependencies"][extra]):
            if requirement.name == project["name"]:
                found += requirements(project, *requirement.extras)
            else:
                found.append(requirement)
    return found


def test_environment_yml_installs_the_package_with_its_extras(project):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock", "-e .[all]"]
    (python,) = [e for e in environment["dependencies"] if isinstance(e, str) and e.startswith("python=")]
    assert python.removeprefix("python=") in Requirement(f"python{project['requires-python']}").specifier


def test_all_is_every_extra_of_a_user(project):
    extras = project["optional-dependencies"]
    named = set().union(*(Requirement(each).extras for each in extras["all"]))
    assert named == extras.keys() - {"all", "dev", "docs", "ray"}, "Ray is large, and few need it"


def test_inference_asks_for_little(project):
    asked = {canonicalize_name(requirement.name) for requirement in requirements(project)}
    assert asked <= {"torch", "soundfile", "soxr", "numpy", "rich", "silero-vad"}


def test_the_pythons_are_those_that_are_tested(project):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    tested = workflow["jobs"]["locked"]["strategy"]["matrix"]["python"]
    stated = [name.rpartition(" ")[2] for name in project["classifiers"] if "Python :: 3." in name]
    allowed = Requirement(f"python{project['requires-python']}").specifier
    assert tested == stated == [f"3.{minor}" for minor in range(40) if f"3.{minor}" in allowed]
    assert f"Python {tested[0]} to {tested[-1]}" in (ROOT / "Makefile").read_text()


def test_the_lock_pins_every_requirement_within_its_range(project):
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line]
    pinned = {canonicalize_name(r.name): r for r in map(Requirement, lines)}
    assert all(r.url is None and str(r.specifier).startswith("==") for r in pinned.values())
    for requirement in requirements(project, "dev"):
        version = str(pinned[canonicalize_name(requirement.name)].specifier).removeprefix("==")
        assert version in requirement.specifier, requirement


def test_the_shipped_weights_know_their_labels_and_their_split(clips):
    model, provenance = checkpoint.load(WEIGHTS, device="cpu")
    assert model.labels == ser_gpu.EMOTIONS
    protocol = Protocol.from_dict(provenance.protocol)
    assert protocol == Protocol("stratified", 0, corpus="ravdess")
    assert provenance.manifest_hash == protocol.split(clips).manifest_hash


def test_the_checksums_cover_every_checkpoint():
    lines = (ROOT / "weights" / "SHA256SUMS").read_text().splitlines()
    stated = dict(line.split("  ")[::-1] for line in lines)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in WEIGHTS.parent.glob("*.pth")}
    assert stated == found


def test_make_alone_lists_its_targets():
    done = subprocess.run(["make", "--silent"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("predict", "test", "lint", "train", "evaluate", "notebook", "audit", "lock"):
        assert f"make {target} " in done.stdout


LAYERS = (  # whoever stands higher may import what stands lower, and what stands beside it
    ("config", "errors", "files", "settings"),
    ("stages", "audio", "corpora", "prediction"),
    ("windows", "voices", "timeline"),
    ("recognizer",),
    ("model", "onnx"),
    ("checkpoint",),
    ("training", "evaluation", "exports", "scale"),
)


def is_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports_of(path):
    """The modules of the package that a module imports when it runs, at its top or in a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {id(each) for node in ast.walk(tree) if is_for_types(node) for each in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typing and (node.module or "").startswith("ser_gpu"):
            for name in node.names:
                inside = f"{node.module}.{name.name}".replace(".", "/")
                is_module = (ROOT / f"{inside}.py").exists() or (ROOT / inside / "__init__.py").exists()
                yield f"{node.module}.{name.name}" if is_module else node.module


def test_imports_run_one_way_and_in_no_circle():
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): set(imports_of(path))
        for path in (ROOT / "ser_gpu").rglob("*.py")
    }
    del modules["ser_gpu"]  # it finds each name when it is asked for
    level = {name: height for height, names in enumerate(LAYERS) for name in names}
    height = {module: level.get(module.split(".")[1], len(LAYERS)) for module in modules}
    height["ser_gpu.timeline.command"] = height["ser_gpu.timeline.__main__"] = len(LAYERS)
    upwards = [(a, b) for a, names in modules.items() for b in names & modules.keys() if height[b] > height[a]]
    assert not upwards
    list(TopologicalSorter({a: names & modules.keys() - {a} for a, names in modules.items()}).static_order())
