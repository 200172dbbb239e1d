"""What the commands share: data, device, model; one clear line and an exit code for an error."""

import atexit
import gc
import os
import re
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from glob import glob
from itertools import pairwise
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from ser_gpu.audio.folder import AudioFolder, audio_files
from ser_gpu.cli import console
from ser_gpu.errors import InputError, check, printable, reason, refusing
from ser_gpu.files import decoded, listed

if TYPE_CHECKING:
    import torch

    from ser_gpu.audio.clip_bank import ClipBank
    from ser_gpu.corpora.clip import Clip
    from ser_gpu.recognizer import Recognizer
    from ser_gpu.voices.voice import Voice

Folders = dict[str, str | None]  # of corpora, by name; None where the corpus' variable names it
DONE, SOME_FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
DEVICE = "cpu, cuda, cuda:1, ... (default: cuda if there is one, else cpu)"
VOICE = "the speaker's voice: a file that ser-gpu enrol wrote with the same model"
CHANNELS = "mixed: one answer for the mean of all channels; apart: an answer for each channel (default: mixed)"
# their terms: weights/LICENSE
SHIPPED = "ser_voices (default: any voice) or ser_ravdess (like RAVDESS), both CC BY-NC-SA 4.0, non-commercial; or"
TTA = "test-time augmentation, if the model has it; ser_voices has none (default: yes)"
MODEL_FILE = "a checkpoint, or .onnx file of ser-gpu export"


class Parser(ArgumentParser):
    """A parser that refuses an empty argument: an unset variable of the shell is not the default."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Namespace | None = None) -> tuple:
        args = sys.argv[1:] if args is None else list(args)
        for before, each in pairwise([self.prog, *args]):
            if not each or (each.startswith("--") and each.endswith("=")):
                self.error(f"an argument is empty, after {each or before}")
        return super().parse_known_args(args, namespace)


def device(name: str | None) -> "torch.device":
    """The torch device of that name; for None, cuda where there is one, else cpu."""
    import torch  # here, since `predict` with an .onnx file does without

    from ser_gpu.checkpoint import default_device

    if name is None:
        return default_device()
    here = "not available here; cpu always is, cuda, cuda:1 or mps may be"
    with refusing(f"--device {name}", Exception, problem=here):  # each backend fails in its own way
        torch.zeros(1, device=name).cpu()
    return torch.device(name)


def model(weights: str | None, device_name: str | None) -> "Recognizer":
    """The model of a checkpoint, or of an .onnx file, which needs no torch."""
    if weights and Path(weights).suffix.lower() == ".onnx":
        from ser_gpu.onnx import OnnxModel

        check(device_name in (None, "cpu"), f"--device {device_name}: an .onnx file runs on the cpu here")
        return OnnxModel(weights)
    from ser_gpu.checkpoint import load_model

    loaded = load_model(weights, chosen := device(device_name))
    if chosen.type not in ("cpu", "cuda"):
        import numpy as np

        try:
            loaded.answer(np.zeros((1, loaded.window_samples), np.float32))
        except Exception as error:  # each backend lacks other operations
            problem = f"cannot run this model here ({reason(error)}); cpu always can"
            raise InputError(f"--device {device_name}: {problem}") from None
    return loaded


def voice(path: str, model: "Recognizer") -> "Voice":
    """The voice in a file that `ser-gpu enrol` wrote with this model; an error names the file."""
    from ser_gpu.voices.voice import Voice, VoiceError

    loaded = Voice.load(path)
    try:
        model.require(loaded)
    except VoiceError as error:
        raise VoiceError(f"{path}: {error}") from None
    return loaded


def number(low: float, high: float = float("inf"), kind: type[float] | type[int] = float) -> Callable[[str], float]:
    """An argparse type: a finite number from `low` to `high`, both included."""
    rule = f"{low:g} or more" if high == float("inf") else f"between {low:g} and {high:g}"
    whole = "a whole number, " if kind is int else ""

    def parse(text: str) -> float:
        with suppress(ValueError):
            if low <= (value := kind(text)) <= high and value != float("inf"):
                return value
        raise ArgumentTypeError(f"must be {whole}{rule}, got {text!r}")

    return parse


positive_int = number(1, kind=int)


def add_recordings(parser: ArgumentParser, help: str) -> None:
    """Add FILE... and --list, for `recordings`."""
    add = parser.add_argument_group("recordings").add_argument
    add("files", nargs="*", metavar="FILE", help=help)
    help = "a list of more names, one a line or ended by NUL, relative to the folder of the list; - is standard input"
    add("--list", metavar="FILE", help=help)


def add_model(parser: ArgumentParser, file: str = MODEL_FILE, device: str = DEVICE) -> None:
    """Add --weights and --device, for `model`."""
    add = parser.add_argument_group("model").add_argument
    add("--weights", metavar="NAME|FILE", help=f"{SHIPPED} {file}")
    add("--device", help=device)


def recordings(names: Sequence[str], list_file: str | None = None) -> AudioFolder:
    """The files of names, patterns, folders and a list; stderr says what is skipped. Raises InputError without any."""
    named = [path for name in names for path in _expanded(Path(name))] + (_listed(list_file) if list_file else [])
    check(named, "name recordings, or a list of them with --list")
    paths: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    for path in named:
        if not os.path.isdir(path):  # noqa: PTH112 - Path's raises where a name is too long
            paths.append(path)
            continue
        inside = audio_files(path)
        reasons = ", ".join(f"{count:,} ({reason})" for reason, count in inside.skipped_counts.items())
        check(inside.paths, f"{path}: no audio file in this folder{f'; skipped: {reasons}' if reasons else ''}")
        if reasons:
            console.say(f"note: {path}: skipped {reasons}")
        paths += inside.paths
        skipped += inside.skipped
    return AudioFolder(tuple(paths), tuple(skipped))


def _expanded(path: Path) -> list[Path]:
    # what a shell does, but those of Windows; brackets in the names of folders that are there are no pattern
    if os.path.lexists(path):
        return [path]
    folder = next((each for each in path.parents if os.path.isdir(each)), Path())  # noqa: PTH112
    names = glob(str(path.relative_to(folder)), root_dir=folder, recursive=True)  # noqa: PTH207 - Path's shows .hidden
    found = [folder / each for each in names]
    return sorted(each for each in found if each.is_file()) or sorted(found) or [path]


def _listed(list_file: str) -> list[Path]:
    with refusing(f"--list {list_file}: cannot be read", OSError):
        content = Path(list_file).read_bytes() if list_file != "-" else sys.stdin.buffer.read() if sys.stdin else b""
    # names may be ended by NUL, or be bytes that are no UTF-8
    text = decoded(content) or os.fsdecode(content).removeprefix("\ufeff")
    check(not re.search(r"[\x01-\x08\x0e-\x1f]", text), f"--list {list_file}: is no list of names")
    lines = text.split("\0") if "\0" in text else re.split(r"\r\n?|\n", text)
    paths = [listed(Path(list_file).parent, line) for line in lines if line.strip()]
    check(paths, f"--list {list_file}: names no recording")
    return paths


def require_free(outputs: Mapping[str, Path | Iterable[Path] | None], inputs: Iterable[str | Path | None]) -> None:
    """Raise InputError, before any work, for a file that could not be written or is not to be written over.

    Args:
        outputs: option -> the file or files that it writes. Folders that are not there yet are made later; of a folder
            to write, give the files in it.
        inputs: all that the command reads, by any name or link; "-" is the file behind standard input.
    """
    read = {_identity(path) for path in inputs if path is not None}
    written: dict[object, str] = {}
    tried: set[Path] = set()
    for option, paths in outputs.items():
        for path in [paths] if isinstance(paths, Path) else paths or ():
            same = _identity(path)
            check(same not in read, f"{option} {path}: is read by this command, and would be written over")
            if same in written:
                remedy = ": two inputs have the same name" if written[same] == option else ""
                raise InputError(f"{option} {path}: would be written over by {written[same]}{remedy}")
            written[same] = option
            with refusing(f"{option} {path}: cannot be written", OSError):
                with suppress(FileNotFoundError):
                    if not S_ISREG(path.stat().st_mode):  # a device would be replaced by a file
                        raise InputError(f"{option} {path}: is {'a folder' if path.is_dir() else 'no regular file'}")
                folder = next(each for each in path.absolute().parents if each.exists())
                if folder not in tried:
                    TemporaryFile(dir=folder).close()
                    tried.add(folder)


def _identity(path: str | Path) -> object:
    try:
        status = os.fstat(0) if str(path) == "-" else Path(path).stat()
    except OSError:
        real = os.path.realpath(path)  # A.csv and a.csv are one file in most folders of these systems
        return real.lower() if sys.platform in ("win32", "darwin") else real
    return status.st_dev, status.st_ino


def run(command: Callable[[], int]) -> int:
    """Run a command; bad input, an unreadable file or Ctrl-C becomes one line on stderr and an exit code."""
    for stream in (sys.stdout, sys.stderr):  # escape what the terminal cannot show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    atexit.register(gc.freeze)  # else Python, when it ends, looks for garbage in all of torch
    try:
        return command()
    except KeyboardInterrupt:
        ignore_ctrl_c()
        atexit.register(ignore_ctrl_c)  # also while Python ends
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except (InputError, OSError) as error:
        message = str(error)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's
            raise
        message = "the device has too little memory for this; in training a smaller --batch-size, else --device cpu"
    except ModuleNotFoundError as error:
        if (error.name or "ser_gpu").startswith("ser_gpu"):
            raise
        message = f"{error.name.partition('.')[0]} is not installed: pip install 'ser_gpu[train]'"
    finally:  # for a host process that goes on, such as a notebook
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, on_ctrl_c)
    print(f"error: {printable(message)}", file=sys.stderr)
    return WRONG_USE


def ignore_ctrl_c() -> None:
    """Ignore a second Ctrl-C, of a user or of torchrun, while a command prints its last line."""
    with suppress(ValueError):  # only the main thread can set a handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Hide the warnings that libsndfile's MP3 decoder writes to descriptor 2, but not `sys.stderr`."""
    shown = sys.stderr
    if shown is None or shown is not sys.__stderr__:  # closed, or captured
        yield
        return
    with Path(os.devnull).open("wb") as nowhere, os.fdopen(os.dup(2), "w", 1, shown.encoding, shown.errors) as terminal:
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = terminal
        try:
            yield
        finally:
            sys.stderr = shown
            os.dup2(terminal.fileno(), 2)


def add_data_options(parser: ArgumentParser) -> None:
    """Add the options that name the recordings."""
    add = parser.add_argument_group("data").add_argument
    what = "the folder of a corpus, a folder that has a folder for each emotion, or a CSV file with the columns file "
    what += "and emotion, and speaker, gender and part if they are known (default: RAVDESS, in the folder that "
    what += "$RAVDESS_DIR names, else downloaded)"
    add("--data", metavar="DIR|CSV", help=what)
    add("--corpus", metavar="NAME", help="the corpus that --data is (default: recognised by its file names)")
    what = "several corpora together, instead of --data; one without DIR is looked for in $SER_CORPORA_DIR"
    add("--corpora", nargs="+", action="extend", metavar="NAME[=DIR]", help=what)


def corpora_of(texts: "Sequence[str] | None") -> Folders | None:
    """The corpora of --corpora and their folders; None where the corpus' variable names the folder."""
    if not texts:
        return None
    from ser_gpu.corpora.known import names, registered_name, usual_name

    folders: Folders = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not folder and registered_name(name) is None:
            known = ", ".join(names())
            raise InputError(f"--corpora {text}: no such corpus, so name its folder: {name}=DIR; known are {known}")
        name = usual_name(name)
        check(name not in folders, f"--corpora {text}: {name} is named twice")
        folders[name] = str(Path(folder).resolve()) if folder else None
    return folders


def add_protocol_options(parser: ArgumentParser, default: str, fold: str = "0") -> Callable:
    """Add the options that choose who is in train, validation and test; gives the adder of more of them."""
    add = parser.add_argument_group("split").add_argument
    add_protocol_choice(add, default)
    add("--fold", type=int, metavar="K", help=f"fold of the protocol, or seed of a random split (default: {fold})")
    what = "test these speakers, instead of --protocol"
    add("--test-speakers", "--test-actors", nargs="+", metavar="SPEAKER", help=what)
    return add


def add_protocol_choice(add: Callable, shown: str, default: str | None = None) -> None:
    """Add --protocol; test speakers and test corpora have flags of their own."""
    from ser_gpu.corpora.splits import ALIASES, protocol_names

    named = [name for name in protocol_names() if ALIASES.get(name, name) not in ("test-speakers", "test-corpora")]
    what = f"how the clips are split, as docs/protocols.md says: {', '.join(named)} (default: {shown})"
    add("--protocol", choices=named, default=default, metavar="NAME", help=what)


def find_clips(data: str | None, corpus: str | None = None, several: Folders | None = None) -> "tuple[Clip, ...]":
    """The clips of `data`, of several corpora, or of the default one; stderr says what was found and left out."""
    from ser_gpu.corpora import find

    check(not (several and (data or corpus)), "--corpora goes without --data and --corpus: add NAME=DIR to it")
    found = find.load_many(several) if several else find.load(data, corpus, progress=console.DownloadBar("Download"))
    console.say(found.description)
    say_left_out(found.left_out)
    console.note(found.notice)
    return found.clips


def say_left_out(counts: Mapping[str, int]) -> None:
    """One line on stderr, if anything is left out: reason -> number."""
    if counts:
        console.say(f"left out: {', '.join(f'{count:,} {reason}' for reason, count in sorted(counts.items()))}")


def read_clips(clips: "Sequence[Clip]", sample_rate: int, device: "torch.device") -> "tuple[list[Clip], ClipBank]":
    """The clips that can be used, decoded with a progress bar, on the device; stderr says how many cannot.

    Raises InputError where all of them are silent or too short.
    """
    import torch

    from ser_gpu.audio.clip_bank import SHORTEST_SECONDS, ClipBank
    from ser_gpu.corpora.known import CORPORA

    row_of = {path: row for row, path in enumerate(dict.fromkeys(clip.path for clip in clips))}
    with console.progress() as progress, quiet_decoders():
        task = progress.add_task("Reading clips", total=len(row_of))
        files = ClipBank.read([*row_of], sample_rate, lambda: progress.advance(task))
    spans = torch.tensor([(clip.start, clip.end) for clip in clips], dtype=torch.float64)
    bank = files.part(torch.tensor([row_of[clip.path] for clip in clips]), spans)
    rows = bank.usable().nonzero().flatten()
    if count := len(bank) - len(rows):
        console.err.print(f"left out: {count:,} silent or shorter than {1000 * SHORTEST_SECONDS:.0f} ms")
    check(len(rows), "no clip is left to work with")
    own = [row for row in rows.tolist() if clips[row].corpus not in CORPORA]  # in the others somebody speaks
    if count := bank.part(torch.tensor(own, dtype=torch.int64)).without_speech():
        console.err.print(f"note: no speech is heard in {count:,} clip{'s' * (count > 1)}; they stay")
    return [clips[row] for row in rows.tolist()], bank.part(rows).to(device)
