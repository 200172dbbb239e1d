"""The steps of the Dockerfile, run as a script in a clean directory: there need not be a Docker engine."""

import os
import re
import shlex
import shutil

import pytest

from tests.packaging.environment import ROOT, Environment, run

INSTRUCTIONS = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Each instruction and what it says, continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def words(name: str) -> list[str]:
    """The words of an instruction in JSON form."""
    (text,) = (text for instruction, text in instructions() if instruction == name)
    return re.findall(r'"([^"]*)"', text)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The environment that the Dockerfile installs into, and the folder where its container starts."""
    root = tmp_path_factory.mktemp("image")
    environment = Environment(root / "venv")
    variables = {
        "PATH": f"{environment.bin}:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",  # the base's packages stand for those of the registry
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say: no isolation
    }
    folder = root
    for name, text in instructions():
        if name == "ARG":
            key, _, value = text.partition("=")
            variables[key] = value
        elif name == "WORKDIR":
            folder = root / text.removeprefix("/")
            folder.mkdir(parents=True)
        elif name == "COPY":
            *sources, target = shlex.split(text)
            for source in sources:
                _copy(source, folder / target, len(sources) > 1 or target.endswith("/"))
        elif name == "RUN" and not text.startswith("apt-get"):
            run(["sh", "-c", text], folder, **variables)
    return environment, folder


def _copy(source, target, into):
    """As COPY does: the content of a folder, or a file."""
    assert (ROOT / source).exists(), source
    if into:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, target)
    else:
        ignored = shutil.ignore_patterns(*re.findall(r"\*\*/(\S+)", (ROOT / ".dockerignore").read_text()))
        shutil.copytree(ROOT / source, target, ignore=ignored)


def test_every_instruction_is_known_to_this_test():
    assert {name for name, _ in instructions()} == INSTRUCTIONS


def test_cpu_and_cuda_are_one_build_argument_apart():
    first, second = instructions()[:2]
    assert first[1].startswith("BASE=python:3.")
    assert second == ("FROM", "${BASE}")
    assert re.search(r"^# docker build .*--build-arg BASE=\S*cuda", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_the_container_answers_as_the_readme_says(image, tmp_path):
    environment, start = image
    shutil.copy(ROOT / "examples" / "sample.wav", start / "clip.wav")
    done = environment.run(*words("ENTRYPOINT"), "predict", "clip.wav", cwd=start)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("clip.wav: angry")


def test_the_container_without_arguments_helps(image):
    environment, start = image
    done = environment.run(*words("ENTRYPOINT"), *words("CMD"), cwd=start)
    assert done.returncode == 0
    assert "predict" in done.stdout
