"""Corpora: who speaks, and with which emotion. A new corpus is one entry of `known.CORPORA`."""

from importlib import import_module

# Imported when they are asked for: a model needs the names of emotions alone.
_HOMES = {
    **dict.fromkeys(("get", "names", "registered_name"), "ser_gpu.corpora.known"),
    **dict.fromkeys(("Loaded", "detect", "load", "load_many"), "ser_gpu.corpora.find"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
