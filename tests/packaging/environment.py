"""A fresh virtual environment that borrows the dependencies of this one, and none of its ser_gpu."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_BLOCK = """
import sys
class _Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, _Missing())
"""


class Environment:
    """A virtual environment in a folder of its own.

    Args:
        folder: to make; its parent exists.
    """

    def __init__(self, folder: Path):
        venv.create(folder, symlinks=True)
        self.folder = folder
        self.bin = folder / "bin"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.packages = folder / "lib" / version / "site-packages"
        pip = self.bin / "pip"
        pip.write_text(f'#!/bin/sh\nexec "{self.bin}/python" -m pip "$@"\n')
        pip.chmod(0o755)
        # the folder joins sys.path; the .pth files in it, such as that of an editable install, are not read
        borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (self.packages / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")

    def without(self, names: set[str]) -> "Environment":
        """The same environment, in which these modules are not installed."""
        (self.packages / "missing_modules.py").write_text(_BLOCK.format(names=names))
        (self.packages / "missing_modules.pth").write_text("import missing_modules\n")
        return self

    def install(self, wheel: Path) -> None:
        """Install one wheel, and nothing else."""
        run([str(self.bin / "pip"), "install", "--quiet", "--no-deps", "--no-index", str(wheel)], self.folder)

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess:
        """Run one of its commands, as in a shell where the environment is active and the repository is unknown."""
        return run([str(self.bin / command[0]), *command[1:]], cwd, check=False)


def run(command: list[str], cwd: Path, check: bool = True, **variables: str) -> subprocess.CompletedProcess:
    """A command with its output as text."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    done = subprocess.run(command, cwd=cwd, env=kept | variables, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done
