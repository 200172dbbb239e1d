"""The console script `ser-gpu`: one subcommand per command, imported when it is called."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from ser_gpu import __version__
from ser_gpu.cli import options

COMMANDS = {  # also python -m ser_gpu.NAME; a new command is its module and one line here
    "predict": "name the emotion of recordings",
    "enrol": "learn a speaker's voice from their own recordings",
    "score": "name the emotion of very many recordings, on this machine or a Ray cluster",
    "timeline": "emotions over time, as subtitles, tables and a picture",
    "live": "the emotion of a microphone, or of raw samples, twice a second",
    "train": "train a model",
    "evaluate": "score a model on clips that it was not trained on",
    "crossvalidate": "train every fold and seed of a protocol and print the table",
    "export": "write a model for onnxruntime, the browser, torch.export or the Hugging Face Hub",
    "app": "serve a page that names emotions in the browser",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand that the first argument names, and return its exit code."""
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    if name in COMMANDS:
        module = "timeline.command" if name == "timeline" else name  # the package has the name
        return options.run(lambda: import_module(f"ser_gpu.{module}").main(rest))
    if name in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        print("usage: ser-gpu COMMAND ...\n\nSpeech emotion recognition: raw audio in, emotion out.\n")
        print(*(f"  {each:{width}}  {what}" for each, what in COMMANDS.items()), sep="\n")
        print("\nser-gpu COMMAND --help shows its arguments, ser-gpu --version the version.")
        return options.DONE
    if name in ("-V", "--version"):
        print(f"ser-gpu {__version__}")
        return options.DONE
    near = "".join(f"; did you mean {each}?" for each in get_close_matches(name, COMMANDS, n=1))
    print(f"error: no such command: {name!r}; there are {', '.join(COMMANDS)}{near}", file=sys.stderr)
    return options.WRONG_USE
