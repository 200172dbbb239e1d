"""ser-gpu train: train a model by a protocol, resumable, and score its test part once at the end."""

import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ser_gpu import checkpoint
from ser_gpu.cli import console, options
from ser_gpu.config import CnnConfig, ModelConfig
from ser_gpu.corpora import licence_of, registered_name
from ser_gpu.corpora.splits import ALIASES
from ser_gpu.errors import InputError, check, require
from ser_gpu.evaluation import figures, predictions
from ser_gpu.evaluation.report import environment, notes
from ser_gpu.files import only_one, read_json, write_csv, write_json
from ser_gpu.settings import add_flags, first_difference, given, parsed
from ser_gpu.stages.prepared import trains_in_bfloat16
from ser_gpu.training import initial, loop
from ser_gpu.training.config import EPOCHS_SPEAKER_INDEPENDENT, FEW_STEPS, PLAN_FILE, Plan, TrainConfig, with_settings
from ser_gpu.training.dataset import Dataset, labels_of
from ser_gpu.training.distributed import Ranks

RESUME_FILE, RESULT_FILE = "resume.pth", "result.json"
_FILES = ("last.pth", RESULT_FILE, "predictions.csv", "metrics.csv", PLAN_FILE, "curves.png")
_IN_CHECKPOINT = ("clips", "accuracy", "uar", "macro_f1", "ece")


def parser() -> ArgumentParser:
    """The command line; a flag that is left out is None, so that a resumed training keeps its own setting."""
    about = "Train a speech emotion model; the .pth file that comes out takes raw audio."
    flags = options.Parser(prog="ser-gpu train", description=about)
    options.add_data_options(flags)
    add = options.add_protocol_options(flags, TrainConfig.protocol)
    add("--test-corpora", nargs="+", metavar="CORPUS", help="test these of the --corpora, instead of --protocol")
    add("--no-test", action="store_true", help="do not score the test part: while settings are chosen")
    add = flags.add_argument_group("training").add_argument
    add_flags(add, TrainConfig)
    add_flags(add, CnnConfig)
    add("--no-augment", action="store_true", help="train without augmentation, masks and mixup")
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="any setting, such as cnn.width=48")
    again = "train again on the training and validation parts, with settings and temperature of this finished training"
    add("--refit", metavar="RUN", help=again)
    begin = "begin with weights and settings of this model, such as ser_voices or a file; of its last layer, the rows "
    add("--init", type=_weights, metavar="CHECKPOINT", help=begin + "of emotions with the same name")
    alone = "fit the last layer alone, to the features of --init: seconds instead of minutes, for a few dozen clips"
    add("--head-only", action="store_true", help=alone)
    fitted = "number that the logits are divided by (default: fitted on the validation part)"
    add("--temperature", type=options.number(0.01, 100.0), metavar="T", help=fitted)
    add = flags.add_argument_group("device").add_argument
    add("--device", help=options.DEVICE)
    add("--amp", choices=("auto", "on", "off"), help="bfloat16 for the CNN; auto, the default: if it is fast here")
    add("--compile", action="store_true", help="compile the CNN by torch.compile")
    add = flags.add_argument_group("output").add_argument
    add("--out", metavar="DIR", help="folder to write (default: runs/PROTOCOL-foldK-seedS)")
    add("--resume", action="store_true", help="continue the unfinished training in --out, with its settings")
    return flags


def main(arguments: Sequence[str] | None = None) -> int:
    return options.run(lambda: run(parser().parse_args(arguments)))


def run(args: Namespace) -> int:
    """Train from the start, or from where the training in --out stopped; then score it and write all files."""
    require("train", "nnAudio", "torch_audiomentations", "scipy", "sklearn", "matplotlib")
    ranks = Ranks.of_torchrun()
    device = options.device(args.device)
    check(device.type != "mps", "--device mps: augmentation computes in float64, which no Apple GPU has; --device cpu")
    if ranks.count > 1 and device.type == "cuda" and device.index is None:
        device = options.device(f"cuda:{ranks.local}")  # each rank of a machine has a GPU of its own
    with ranks.joined("nccl" if device.type == "cuda" else "gloo", console.say), ExitStack() as held:
        if not ranks.is_first:
            console.be_quiet()
        trainer, plan, out = ranks.agree(lambda: _prepared(args, device, ranks, held))
        if args.compile:
            trainer.model.cnn.compile()
        if plan.training.head_only:
            trainer.fit_head()
        else:
            _fit(trainer, out)
        if ranks.is_first:
            _finish(trainer, plan, out)
            (out / RESUME_FILE).unlink(missing_ok=True)
    return options.DONE


def _prepared(args: Namespace, device: torch.device, ranks: Ranks, held: ExitStack) -> tuple[loop.Trainer, Plan, Path]:
    out = Path(args.out or default_out(args))
    check(not (out / RESULT_FILE).exists(), f"{out}: holds a finished training; name another folder with --out")
    resume_file = out / RESUME_FILE
    if resume_file.exists() and not args.resume:
        raise InputError(f"{out}: holds an unfinished training; --resume goes on with it, --out names another folder")
    stored = Plan.read(out) if args.resume else None
    if args.resume and stored is None:
        console.err.print(f"note: {out}: there is no training to go on with, so one begins")
    plan = _kept(args, stored, out) if stored else new_plan(args, device)
    options.require_free({"--out": [out / name for name in (*_FILES, RESUME_FILE)]}, [plan.data, plan.init])
    if ranks.is_first:
        held.enter_context(only_one(out))
    clips = options.find_clips(plan.data, plan.corpus, plan.corpora)
    split = plan.protocol.split(clips)
    console.note(plan.protocol.notice(clips))
    if plan.training.protocol != "listed" and any(clip.part for clip in clips):
        console.err.print("note: parts are named, which --protocol listed uses")
    if plan.refit and read_json(Path(plan.refit, RESULT_FILE))["manifest_hash"] != split.manifest_hash:
        raise InputError(f"{plan.refit}: a training on other clips or another split; a refit goes on with the same")
    labels_of(clip for clip in clips if clip.id in split.part_of)  # before all are read
    dataset = Dataset(*options.read_clips(clips, plan.model.audio.sample_rate, device), split)
    if not (stored or plan.refit):
        plan = plan.fitted(sum(len(dataset.rows[part]) for part in plan.training.parts))
    init = None if resume_file.exists() else plan.init  # a training that goes on has weights of its own
    check(not init or initial.sha256(init) == plan.init_sha256, f"{init}: has changed since the training was planned")
    if init and checkpoint.load(init, "cpu")[1].manifest_hash != split.manifest_hash:
        tested = {clip.corpus for clip in clips if split.part_of.get(clip.id) == "test"}
        if known := sorted(tested.intersection(plan.init_corpora)):
            said = f"{init} was trained on {', '.join(known)} by another split, so it may know clips or speakers"
            console.err.print(f"note: {said} of the test part")
    trainer = loop.Trainer(plan.training, plan.model, dataset, plan.bfloat16, init, ranks)
    if not plan.training.head_only and (steps := plan.training.epochs * trainer.steps) < FEW_STEPS:
        console.err.print(f"note: {steps} optimizer steps are few: more --epochs or a smaller --batch-size give more")
    if resume_file.exists():
        trainer.restore(checkpoint.read(resume_file))
    if ranks.is_first:
        write_json(out / PLAN_FILE, asdict(plan))
    return trainer, plan, out


def _asked(args: Namespace) -> dict[str, object]:
    # settings, and fields of the plan, that flags name; not the data: a folder may have moved before --resume
    parts = {"training": TrainConfig(), **vars(ModelConfig())}
    by_flag = "test-speakers" if args.test_speakers else "test-corpora" if args.test_corpora else None
    asked = {
        "training.protocol": by_flag or ALIASES.get(args.protocol, args.protocol),
        "training.fold": args.fold,
        "training.refit": True if args.refit else None,
        "training.head_only": args.head_only or None,
        "augment.enabled": False if args.no_augment else None,
    }
    asked |= given(args, "training", TrainConfig) | given(args, "cnn", CnnConfig)
    asked |= dict(parsed(each, parts) for each in args.set)
    asked["test_speakers"] = tuple(args.test_speakers or ())
    asked["test_corpora"] = tuple(registered_name(name) or name for name in args.test_corpora or ())
    asked |= {"temperature": args.temperature, "bfloat16": {"on": True, "off": False}.get(args.amp)}
    asked |= {"corpus": args.corpus, "refit": _absolute(args.refit), "test": False if args.no_test else None}
    asked["init_sha256"] = args.init and initial.sha256(args.init)
    return {name: value for name, value in asked.items() if value not in (None, ())}


def new_plan(args: Namespace, device: torch.device) -> Plan:
    """The plan of a training that begins: that of the flags, or that of the training which it repeats."""
    asked = _asked(args)
    bfloat16 = {"bfloat16": asked.get("bfloat16", trains_in_bfloat16(device))}
    begin = {"init": args.init, **initial.origin(args.init)} if args.init else {}
    if args.refit:
        first, path = Plan.read(Path(args.refit)), Path(args.refit, RESULT_FILE)
        check(first is not None and path.exists(), f"{args.refit}: holds no finished training to repeat")
        own = {"refit": asked["refit"], "test": not args.no_test, "temperature": read_json(path)["temperature"]}
        seed = asked.get("training.seed", first.training.seed)
        if seed != first.training.seed and begin:  # another seed may begin with other weights, too
            own |= begin | {"init_sha256": asked["init_sha256"]}
        training = replace(first.training, refit=True, seed=seed)
        return _kept(args, replace(first, training=training, **bfloat16 | own), Path(args.refit))
    settings, own = ({name: asked[name] for name in asked if ("." in name) is dotted} for dotted in (True, False))
    base = checkpoint.load_model(args.init, "cpu").config if args.init else ModelConfig()
    training, model = with_settings(TrainConfig(), base, settings)
    where = {"data": _absolute(args.data), "corpora": options.corpora_of(args.corpora)}
    free = tuple(name for name in ("epochs", "batch_size") if f"training.{name}" not in asked)
    plan = Plan(training, model, free=free, **bfloat16 | where | begin | own)
    if "training.epochs" not in asked and plan.protocol.speaker_independent:
        return replace(plan, training=replace(training, epochs=EPOCHS_SPEAKER_INDEPENDENT))
    return plan


def _kept(args: Namespace, stored: Plan, folder: Path) -> Plan:
    # a stored plan, which no flag may contradict
    corpora, asked = options.corpora_of(args.corpora), _asked(args)
    there = stored.values
    if corpora:
        asked["corpora"], there["corpora"] = sorted(corpora), sorted(stored.corpora or ())
    if difference := first_difference({name: there[name] for name in asked}, asked):
        raise InputError(f"{folder}: a training with other settings: {difference}; leave the flag out")
    return replace(stored, data=_absolute(args.data) or stored.data, corpora=corpora or stored.corpora)


def default_out(args: Namespace) -> str:
    training = new_plan(args, torch.device("cpu")).training
    return f"runs/{training.protocol}-fold{training.fold}-seed{training.seed}{'-refit' if training.refit else ''}"


def _weights(name: str) -> str:
    path = checkpoint.weights_file(name)
    return str(path.resolve()) if path.exists() else name


def _absolute(path: str | None) -> str | None:
    return path and str(Path(path).resolve())


def _fit(trainer: loop.Trainer, out: Path) -> None:
    ranks = trainer.ranks

    def after_epoch(row: dict) -> None:
        checkpoint.write(out / RESUME_FILE, trainer.state())
        write_csv(out / "metrics.csv", trainer.history)
        status = f"epoch {row['epoch']}/{trainer.config.epochs}  loss {row['train_loss']:.3f}  "
        if "validation_uar" in row:
            status += f"validation accuracy {row['validation_accuracy']:.3f}  UAR {row['validation_uar']:.3f}  "
        console.err.print(f"{status}{row['clips_per_second']:.0f} clips/s")

    def where() -> str:
        torchrun = f"torchrun --nproc-per-node={ranks.count} -m ser_gpu.train"
        how = f"{'ser-gpu train' if ranks.count == 1 else torchrun} --resume --out {shlex.quote(str(out))}"
        return f"after epoch {len(trainer.history)}; {how} goes on"

    with console.progress() as progress:
        total, done = (epochs * trainer.steps for epochs in (trainer.config.epochs, len(trainer.history)))
        task = progress.add_task("Training", total=total, completed=done)
        try:
            try:
                trainer.fit(after_epoch, on_step=lambda: progress.advance(task))
            except InputError:
                if not ranks.is_first:  # the first rank reports for all
                    raise SystemExit(options.WRONG_USE) from None
                raise
            except RuntimeError as error:
                if not ranks.lost(error):
                    raise
                raise InputError(f"another rank has ended {where()}") from None
        except KeyboardInterrupt:  # outside, since the end of another rank may come first
            if not ranks.is_first:
                raise SystemExit(options.INTERRUPTED) from None
            options.ignore_ctrl_c()
            console.err.print(f"stopped {where()}")
            raise


def _finish(trainer: loop.Trainer, plan: Plan, out: Path) -> None:
    config, dataset, protocol = trainer.config, trainer.dataset, plan.protocol
    held_out = [part for part in ("validation", "test") if part not in config.parts and len(dataset.rows[part])]
    if plan.temperature is None and not trainer.is_validated:
        console.err.print("note: nothing is validated, so the temperature stays 1; --temperature sets it")
    model = trainer.finish(plan.temperature)
    answers = {part: trainer.answers(part) for part in held_out if plan.test or part != "test"}
    scores = {part: found.report(by_speaker=protocol.speaker_independent) for part, found in answers.items()}
    title = f"{protocol.name}, fold {protocol.fold}, seed {config.seed}"
    for part in list(scores)[-1:]:  # before anything is written, which may fail
        console.show_report(f"{title}, {part} part", scores[part], model.labels)
    for part, found in scores.items():
        console.note(*(f"{part} part: {each}" for each in notes(found)))
    trained_on = sorted({*plan.init_corpora, *(clip.corpus for clip in dataset.clips)})
    heard = {clip.corpus for part in ("train", "validation") for clip in dataset.clips_of(part)}
    licence = licence_of(sorted({*plan.init_corpora, *heard}), plan.init_licence)
    learnt, manifest_hash = protocol.as_dict() | {"corpus": ", ".join(trained_on)}, dataset.split.manifest_hash
    kept = {part: {name: scores[part][name] for name in _IN_CHECKPOINT} for part in scores}
    settings = asdict(config) | {"init_sha256": plan.init_sha256}
    provenance = checkpoint.Provenance(learnt, manifest_hash, config.seed, kept, settings, licence=licence)
    checkpoint.save(out / "last.pth", model, provenance)
    if trainer.history:
        figures.save(figures.training_curves(trainer.history, f"Training: {title}"), out / "curves.png")
    result = {**protocol.in_results, "seed": config.seed, "manifest_hash": manifest_hash}
    result |= {"parameters": sum(each.numel() for each in model.parameters()), "bfloat16": trainer.bfloat16}
    result |= {"seconds": sum(row["seconds"] for row in trainer.history), "temperature": float(model.temperature)}
    result |= {"environment": environment(trainer.device), "init_sha256": plan.init_sha256, **scores}
    result["config"] = {"training": asdict(config), "model": model.config.as_dict()}
    if answers:
        rows = [row for part, found in answers.items() for row in predictions.rows(found, part)]
        write_csv(out / "predictions.csv", rows)
    write_json(out / RESULT_FILE, result)
    console.err.print(f"written: {out}/{', '.join(name for name in _FILES if (out / name).exists())}")
    console.note(licence and f"licence of what these weights learnt from: {licence}")


if __name__ == "__main__":
    sys.exit(main())
