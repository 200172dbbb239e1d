"""The command line of `ser-gpu train`, and the plan that it asks for."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from pathlib import Path

import torch

from ser_gpu.cli import options
from ser_gpu.config import HEADS, ModelConfig
from ser_gpu.corpora import registered_name
from ser_gpu.corpora.splits import ALIASES, Protocol
from ser_gpu.errors import InputError
from ser_gpu.training import initial
from ser_gpu.training.config import EPOCHS_SPEAKER_INDEPENDENT, TrainConfig, with_settings
from ser_gpu.training.loop import use_bfloat16
from ser_gpu.training.plan import Plan


def parser() -> ArgumentParser:
    """The command line; a flag that is left out is None, so that a resumed training takes its own setting."""
    defaults = TrainConfig()
    flags = ArgumentParser(
        prog="ser-gpu train",
        description="Train a speech emotion model; the .pth file that comes out takes raw audio.",
    )
    add = flags.add_argument
    options.add_data_options(flags)
    options.add_protocol_options(flags, f"who is in which part (default: {defaults.protocol})")
    add("--test-corpora", nargs="+", metavar="CORPUS", help="test these of the --corpora, instead of --protocol")
    add("--seed", type=int, help=f"seed of weights, order and augmentation (default: {defaults.seed})")
    add(
        "--epochs",
        type=options.positive_int,
        help=f"passes over the training part (default: {defaults.epochs}, or {EPOCHS_SPEAKER_INDEPENDENT} where its "
        "speakers are in no other part)",
    )
    add("--batch-size", type=options.positive_int, help=f"clips a step (default: {defaults.batch_size})")
    add("--lr", type=float, help=f"peak learning rate of the one-cycle schedule (default: {defaults.lr})")
    add("--head", choices=HEADS, help=f"how the last feature maps are pooled (default: {ModelConfig().cnn.head})")
    add("--no-augment", action="store_true", help="train without augmentation, masks and mixup")
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="any setting, such as cnn.width=48")
    add(
        "--refit",
        metavar="RUN",
        help="once the settings are chosen: train again on the training and validation parts together, with the "
        "settings and the temperature of this finished training's folder",
    )
    add(
        "--init",
        metavar="CHECKPOINT",
        help="begin with the weights of this file: the network, and its last layer where labels have the same name",
    )
    add(
        "--temperature",
        type=_temperature,
        help="of the probabilities, from other trainings of the recipe (default: fitted on the validation part)",
    )
    add("--no-test", action="store_true", help="do not score the test part: for a comparison on validation")
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--amp", choices=("auto", "on", "off"), help="bfloat16 for the CNN (default: where it is fast)")
    add("--compile", action="store_true", help="torch.compile the CNN")
    add("--out", help="folder to write (default: runs/PROTOCOL-foldK-seedS)")
    add("--resume", action="store_true", help="go on with the unfinished training in --out, with its settings")
    return flags


def _temperature(text: str) -> float:
    """An argparse type."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 100.0:
        raise ArgumentTypeError(f"must be between 0.01 and 100, got {text!r}")
    return value


def _test_corpora(args: Namespace) -> tuple[str, ...]:
    """As the clips name them, however they are spelt."""
    return tuple(registered_name(name) or name for name in args.test_corpora or ())


def new_plan(args: Namespace, device: torch.device) -> Plan:
    """The plan of a training that begins.

    Raises:
        ValueError: a value that is not allowed.
    """
    training, model = _configs(args)
    if args.refit and args.temperature is not None:
        raise InputError("--temperature and --refit: a refit has the temperature of the training that it repeats")
    return Plan(
        replace(training, refit=bool(args.refit) or training.refit),
        model,
        bfloat16=use_bfloat16(args.amp or "auto", device),
        data=_absolute(args.data),
        corpus=args.corpus,
        test_speakers=tuple(args.test_speakers or ()),
        refit=_absolute(args.refit),
        test=not args.no_test,
        corpora=options.corpora_of(args.corpora),
        init=_absolute(args.init),
        init_sha256=args.init and initial.sha256(args.init),
        init_corpora=initial.corpora(args.init) if args.init else (),
        test_corpora=_test_corpora(args),
        temperature=args.temperature,
    )


def default_out(args: Namespace) -> str:
    """The folder of a training that names none."""
    training, _ = _configs(args)
    refit = "-refit" if args.refit else ""
    return f"runs/{training.protocol}-fold{training.fold}-seed{training.seed}{refit}"


def resumed_plan(args: Namespace, stored: Plan, out: Path) -> Plan:
    """The plan of a training that goes on: the stored one, but the data may lie in another place.

    Raises:
        ValueError: a flag asks for something else; names it.
    """
    for flag, setting in _asked_settings(args):
        if with_settings(stored.training, stored.model, [setting]) != (stored.training, stored.model):
            part, _, name = setting.partition("=")[0].partition(".")
            of_part = stored.training if part == "training" else getattr(stored.model, part)
            raise _contradiction(flag, out, getattr(of_part, name))
    corpora = options.corpora_of(args.corpora)
    others = (
        ("--test-speakers", tuple(args.test_speakers or ()), stored.test_speakers),
        ("--test-corpora", _test_corpora(args), stored.test_corpora),
        (f"--temperature {args.temperature}", args.temperature, stored.temperature),
        (f"--amp {args.amp}", {"on": True, "off": False}.get(args.amp), stored.bfloat16),
        (f"--corpus {args.corpus}", args.corpus, stored.corpus),
        (f"--refit {args.refit}", _absolute(args.refit), stored.refit),
        ("--no-test", False if args.no_test else None, stored.test),
        (f"--init {args.init}", args.init and initial.sha256(args.init), stored.init_sha256),
        ("--corpora", corpora and sorted(corpora), sorted(stored.corpora or ())),
    )
    for flag, asked, there in others:
        if asked not in (None, ()) and asked != there:
            raise _contradiction(flag, out, there)
    return replace(stored, data=_absolute(args.data) or stored.data, corpora=corpora or stored.corpora)


def _contradiction(flag: str, out: Path, there: object) -> InputError:
    there = "on" if there is True else "off" if there is False else "none" if there in (None, ()) else there
    return InputError(f"{flag} contradicts the run in {out} ({there}); leave it out, or name another --out")


def _configs(args: Namespace) -> tuple[TrainConfig, ModelConfig]:
    settings = [setting for _, setting in _asked_settings(args)]
    training, _ = with_settings(TrainConfig(), ModelConfig(), settings)
    speakers = tuple(args.test_speakers or ())
    protocol = Protocol(training.protocol, training.fold, speakers, test_corpora=_test_corpora(args))
    start = TrainConfig(epochs=EPOCHS_SPEAKER_INDEPENDENT) if protocol.speaker_independent else TrainConfig()
    return with_settings(start, ModelConfig(), settings)


def _asked_settings(args: Namespace) -> list[tuple[str, str]]:
    """What the flags ask for: each flag as the user wrote it, and the setting that it is."""
    flags = (
        (f"--protocol {args.protocol}", "training.protocol", ALIASES.get(args.protocol, args.protocol)),
        ("--test-speakers", "training.protocol", "test-speakers" if args.test_speakers else None),
        ("--test-corpora", "training.protocol", "test-corpora" if args.test_corpora else None),
        (f"--fold {args.fold}", "training.fold", args.fold),
        (f"--seed {args.seed}", "training.seed", args.seed),
        (f"--epochs {args.epochs}", "training.epochs", args.epochs),
        (f"--batch-size {args.batch_size}", "training.batch_size", args.batch_size),
        (f"--lr {args.lr}", "training.lr", args.lr),
        (f"--head {args.head}", "cnn.head", args.head),
        ("--no-augment", "augment.enabled", "false" if args.no_augment else None),
    )
    asked = [(flag, f"{name}={value}") for flag, name, value in flags if value is not None]
    return asked + [(f"--set {setting}", setting) for setting in args.set]


def _absolute(path: str | None) -> str | None:
    return path and str(Path(path).resolve())
