"""Files appear whole or not at all (renamed from a temporary name beside them); a folder has one writer at a time."""

import codecs
import csv
import gzip
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ser_gpu.errors import InputError, check, refusing


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder, made if needed, for this process alone; raises InputError where another process holds it."""
    from filelock import FileLock, Timeout  # here, since it comes with torch, which may be missing

    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / ".lock").acquire(blocking=False)
    except Timeout:
        raise InputError(f"{folder}: another process writes there; name another folder with --out") from None
    with held:
        yield


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which replaces `path` on success and is removed on failure.
    It keeps the suffix, by which writers such as matplotlib choose a format. An OSError names `path`."""
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.parent / f".{path.stem[:40]}-{secrets.token_hex(8)}{path.suffix[:40]}"  # none is too long
        name.touch(exist_ok=False)  # with the mode of the process's umask
        temporary = name
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def decoded(content: bytes, *others: str) -> str | None:
    """Text in UTF-8, in UTF-16 with its byte order mark, or in one of the other encodings; None for anything else."""
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if is_utf16 else ("utf-8-sig", *others):
        with suppress(UnicodeDecodeError):
            if "\0" not in (text := content.decode(encoding)):
                return text
    return None


def read_text(path: str | Path, *others: str) -> str:
    """The text of a file, as `decoded` reads it. Raises InputError for anything else."""
    with refusing(path, OSError):
        text = decoded(Path(path).read_bytes(), *others)
    check(text is not None, f"{path}: is no text")
    return text


def listed(folder: Path, text: str) -> Path:
    """The file that a list in `folder` names: as it stands or, where there is none, without spaces around it and with
    / for the \\ of Windows."""
    names = (text, text.strip(), text.strip().replace("\\", "/"))
    return folder / next((each for each in names if os.path.exists(folder / each)), names[-1])  # noqa: PTH110 - long names


def sha256(*paths: str | Path) -> str:
    """SHA-256 of files, one behind the other, in hexadecimal."""
    return hashlib.sha256(b"".join(Path(path).read_bytes() for path in paths)).hexdigest()


def write_json(path: str | Path, content: object) -> None:
    """Write `content` as indented JSON; raises ValueError for a number that JSON has not (NaN, infinity)."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> object:
    """Read a JSON file; raises InputError where it is not JSON."""
    with refusing(path, ValueError, problem="is not JSON"):  # also bytes that are no UTF-8
        return json.loads(Path(path).read_text(encoding="utf-8"))


def write_csv(path: str | Path, rows: Sequence[dict]) -> None:
    """Write rows that all have the keys of the first one, compressed where the name ends in `.gz`; the same rows give
    the same bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0) if Path(path).suffix == ".gz" else content)
