"""Corpora: who speaks, and with which emotion. A new corpus is one entry of `known.CORPORA`."""

from importlib import import_module

# imported on first use: a model needs the names of emotions alone
_FOUND = ("Loaded", "load", "load_many")
_KNOWN = ("get", "licence_of", "names", "registered_name")


def __getattr__(name: str) -> object:
    if name not in _FOUND + _KNOWN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ser_gpu.corpora.{'find' if name in _FOUND else 'known'}"), name)
