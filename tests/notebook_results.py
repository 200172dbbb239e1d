"""Stand-ins for the results that the notebook shows: what the commands write, of tiny trainings on synthetic voices."""

from collections.abc import Iterable
from pathlib import Path
from unittest.mock import patch

from experiments import ablate, overfitting, pitch_bias, pitch_counterfactual
from ser_gpu import corpora, crossvalidate, evaluate, train
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.evaluation import figures
from ser_gpu.files import write_csv

_SMALL = ("--set", "cnn.width=4", "cnn.depth=2", "audio.clip_seconds=1.0", "tta.enabled=false")
_VARIANTS = '[variants]\n"the recipe" = []\nflatten = ["cnn.head=flatten"]\n'


def make(root: Path, data: Path) -> Path:
    """A folder with `weights/` and `experiments/results/` as the repository has them; trainings run in this process."""
    weights, results, runs = root / "weights", root / "experiments" / "results", root / "runs"
    with patch.object(figures, "save", lambda figure, path, dpi=0: Path(path).touch()):  # the notebook draws its own
        for name, protocol in (("ser_ravdess", "stratified"), ("ser_ravdess_actors", "actors5")):
            _shipped(weights, name, protocol, data, runs)
        for protocol, seeds in (("stratified", 1), ("grouped", 1), ("actors5", 2), ("actors6", 1)):
            _crossvalidation(weights / "crossvalidation" / f"{protocol}.json", protocol, range(seeds), data, runs)
        _ablation(results / "ablation.json", data, runs)
    pitches = [
        {"clip": clip.id, "median_hz": 100 * 1.14 ** EMOTIONS.index(clip.emotion)}
        | {"spread_semitones": 1 + int(clip.speaker) / 10}
        for clip in corpora.load(data).clips
    ]
    write_csv(results / "pitch.csv", pitches)
    answers = weights / "crossvalidation" / "actors5.predictions.csv.gz"
    bias = [str(answers), "--pitch", str(results / "pitch.csv"), "--out", str(results / "pitch-bias"), "--json"]
    assert pitch_bias.main(bias) == 0
    shifted = ["--data", str(data), "--device", "cpu", "--out", str(results / "pitch-counterfactual"), "--json"]
    assert pitch_counterfactual.main([str(weights / "ser_ravdess.pth"), *shifted]) == 0
    small = ["--data", str(data), "--device", "cpu", "--out", str(results / "overfitting"), "--json"]
    assert overfitting.main([*small, "--epochs", "1"]) == 0
    return root


def _options(data: Path) -> list[str]:
    return ["--data", str(data), "--device", "cpu", "--epochs", "1", "--batch-size", "64"]


def _train(out: Path, protocol: str, seed: int, data: Path, *more: str) -> None:
    own = ["--protocol", protocol, "--fold", "0", "--seed", str(seed), "--out", str(out)]
    assert train.main([*_options(data), *own, *_SMALL, *more]) == 0


def _shipped(weights: Path, name: str, protocol: str, data: Path, runs: Path) -> None:
    out = runs / name
    _train(out, protocol, 0, data)
    weights.mkdir(parents=True, exist_ok=True)
    (out / "last.pth").rename(weights / f"{name}.pth")
    (out / "metrics.csv").rename(weights / f"{name}.metrics.csv")
    assert evaluate.main([str(weights / f"{name}.pth"), "--data", str(data), "--device", "cpu", "--json"]) == 0


def _crossvalidation(table: Path, protocol: str, seeds: Iterable[int], data: Path, runs: Path) -> None:
    for seed in seeds:
        _train(runs / protocol / f"fold0-seed{seed}", protocol, seed, data, "augment.enabled=false")
    which = ["--protocol", protocol, "--folds", "0", "--seeds", *map(str, seeds), "--runs", str(runs), "--json"]
    assert crossvalidate.main([*which, "--table", str(table), *_options(data), *_SMALL, "augment.enabled=false"]) == 0


def _ablation(table: Path, data: Path, runs: Path) -> None:
    variants = runs / "variants.toml"
    variants.write_text(_VARIANTS)
    for name, setting in ablate.read_variants(variants).items():
        _train(runs / "ablation" / ablate._slug(name) / "fold0-seed0", "actors5", 0, data, *setting, "--no-test")
    which = ["--variants", str(variants), "--protocol", "actors5", "--folds", "0", "--seeds", "0"]
    which += ["--runs", str(runs), "--json"]
    assert ablate.main([*which, "--table", str(table), *_options(data), *_SMALL]) == 0
