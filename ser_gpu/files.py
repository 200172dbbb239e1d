"""Files appear whole or not at all: written under a temporary name beside the target, then renamed; and a folder is
written by one process at a time."""

import csv
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ser_gpu.errors import InputError


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, for this process alone, until it ends; raises InputError where another does."""
    from filelock import FileLock, Timeout  # here, since a place without torch may not have it

    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(folder / ".lock").acquire(blocking=False))
        except Timeout:
            raise InputError(f"{folder}: another process writes there; name another folder with --out") from None
        yield


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it replaces `path`, on failure it is removed.

    It keeps the suffix, by which writers such as matplotlib choose a format. An OSError names `path`.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.parent / f".{path.stem}-{secrets.token_hex(8)}{path.suffix}"
        name.touch(exist_ok=False)  # with the mode that the process's umask leaves
        temporary = name
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: object) -> None:
    """Write `content` as indented JSON; raises ValueError where a number has no word in JSON (NaN)."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> object:
    """What a JSON file holds; raises InputError where it is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:  # of letters that are no UTF-8, too
        raise InputError(f"{path}: is not JSON") from None


def write_csv(path: str | Path, rows: Sequence[dict]) -> None:
    """Write rows that have the keys of the first one."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
