"""What the wheel holds, and what it does in an empty environment and an empty folder."""

import json
import shutil
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from ser_gpu.exports.page import LIBRARIES
from tests.packaging.environment import ROOT, Environment, run

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "app", "docs", "examples", "ser_gpu", "weights")
MODULES_OF_EXTRAS = {  # not filelock, which torch brings along
    "train": {"nnAudio", "torch_audiomentations", "scipy", "sklearn", "pooch", "requests"},
    "figures": {"matplotlib"},
    "notebook": {"jupytext", "nbclient", "ipykernel", "librosa"},
    "bench": {"threadpoolctl", "psutil"},
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built(tmp_path_factory.mktemp("wheel"))


def built(folder: Path, libraries: Path | None = None) -> Path:
    """A wheel from a copy, so that nothing of an earlier build gets into it; `libraries`: packages of npm."""
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(ROOT / name, source)
    if libraries:
        shutil.copytree(libraries, source / "app" / "node_modules")
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run([sys.executable, "-m", "pip", "wheel", *flags, "--wheel-dir", str(folder), str(source)], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel with the dependencies of `pip install ser_gpu`, and none of an extra."""
    environment = Environment(tmp_path_factory.mktemp("environment") / "venv")
    environment.install(wheel)
    return environment.without(set().union(*MODULES_OF_EXTRAS.values()))


@pytest.fixture
def empty(tmp_path):
    """A folder with a recording, and nothing else."""
    shutil.copy(ROOT / "examples" / "sample.wav", tmp_path / "clip.wav")
    return tmp_path


def test_the_wheel_holds_the_package_and_two_weights(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = message_from_bytes(archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))))
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "ser_gpu").rglob("*.py")}
    weights = {
        f"ser_gpu/weights/{name}" for name in ("DEFAULT", "LICENSE", "README.md", "ser_ravdess.pth", "ser_voices.pth")
    }
    page = {f"ser_gpu/page/{path.name}" for path in (ROOT / "app").iterdir() if path.is_file()}
    assert {"ser_gpu/page/index.html", "ser_gpu/page/package-lock.json"} <= page
    shared = {"ser_gpu/py.typed", "ser_gpu/examples/sample.wav", "ser_gpu/docs/responsible-use.md"}
    assert names == modules | weights | page | shared
    assert metadata["License-Expression"] == "MIT AND CC-BY-NC-SA-4.0"
    assert metadata.get_all("License-File") == ["LICENSE", "weights/LICENSE", "app/onnxruntime-license.txt"]
    assert wheel.stat().st_size < 10e6, "8.5 MB of weights, and the code"


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "ser_gpu").rglob("__init__.py")]
    assert sorted(listed) == sorted([*found, "ser_gpu.page", "ser_gpu.weights"])


def test_the_installed_command_answers_in_an_empty_folder(installed, empty):
    done = installed.run("ser-gpu", "predict", "clip.wav", cwd=empty)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("clip.wav: happy")


def test_a_module_of_the_installed_package_is_the_same_command(installed, empty):
    done = installed.run("python", "-m", "ser_gpu.predict", "--json", "clip.wav", cwd=empty)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["emotion"] == "happy"


def test_python_answers_by_the_default_weights_of_the_package(installed, empty):
    code = "import ser_gpu; print(ser_gpu.__file__, ser_gpu.load_model().predict('clip.wav').emotion)"
    done = installed.run("python", "-c", code, cwd=empty)
    assert (done.returncode, done.stderr) == (0, "")
    where, emotion = done.stdout.split()
    assert emotion == "happy"
    assert Path(where).is_relative_to(installed.packages)


def test_the_page_of_the_installed_package_says_what_it_lacks(installed, empty):
    done = installed.run("ser-gpu", "app", "--out", "site", cwd=empty)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "onnxruntime-web is not installed: run npm ci --omit=dev in " in done.stderr
    assert str(Path("ser_gpu") / "page") in done.stderr


def test_the_page_of_a_wheel_with_its_libraries_needs_nothing_else(tmp_path, empty):
    libraries = tmp_path / "node_modules"
    for path in map(libraries.joinpath, (*LIBRARIES.values(), "onnxruntime-web/dist/ort.js")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a library")
    environment = Environment(tmp_path / "venv")
    environment.install(built(tmp_path, libraries))
    done = environment.run("ser-gpu", "app", "--no-tta", "--out", "site", cwd=empty)
    assert (done.returncode, done.stdout) == (0, "")
    about = json.loads((empty / "site" / "model.json").read_text())
    assert {"index.html", "sample.wav", "onnxruntime-license.txt", "model.onnx"} < set(about["bytes"])
    assert sorted(f"{path.parent.name}/{path.name}" for path in (empty / "site").glob("*/*")) == sorted(LIBRARIES)


@pytest.mark.parametrize(
    "command",
    [("ser-gpu", "train", "--data", "."), ("python", "-m", "ser_gpu.evaluate", "missing.pth")],
    ids=["as a command", "as a module"],
)
def test_a_command_without_its_extra_says_how_to_get_it(installed, empty, command):
    done = installed.run(*command, cwd=empty)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "pip install 'ser_gpu[train]'" in done.stderr
