import json
from pathlib import Path

import pytest

from experiments import ablate
from ser_gpu.config import ModelConfig
from ser_gpu.training.config import EPOCHS_SPEAKER_INDEPENDENT, TrainConfig, with_settings


@pytest.fixture
def variants(tmp_path):
    path = tmp_path / "variants.toml"
    small = '"cnn.width=4", "cnn.depth=2", "audio.clip_seconds=1.0", "augment.enabled=false"'
    path.write_text(f'[variants]\n"the recipe" = [{small}]\nflatten = [{small}, "cnn.head=flatten"]\n')
    return path


def test_variants_are_compared_on_validation_alone(variants, tiny_ravdess, tmp_path, capsys):
    options = ["--protocol", "stratified", "--folds", "0", "--runs", str(tmp_path), "--jobs", "2"]
    training = ["--data", str(tiny_ravdess), "--device", "cpu", "--epochs", "1", "--batch-size", "64"]
    training += ["--set", "training.lr=0.003", "cnn.width=4", "cnn.members=1"]
    assert ablate.main(["--variants", str(variants), *options, *training]) == 0
    table = json.loads((tmp_path / "ablation" / "table.json").read_text())
    recipe, flatten = table["variants"]
    assert (recipe["name"], recipe["difference"]) == ("the recipe", 0.0)
    gap = flatten["validation"]["uar"] - recipe["validation"]["uar"]
    assert flatten["difference"] == pytest.approx(gap)
    assert flatten["parameters"] > recipe["parameters"]
    path = tmp_path / "ablation" / "flatten" / "fold0-seed0" / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"test": result["validation"]}))
    assert ablate.main(["--variants", str(variants), *options, *training]) == 0
    again = json.loads((tmp_path / "ablation" / "table.json").read_text())
    assert again == table, "what a training knows of its test part is left out"
    assert "config" not in again["variants"][0]["rows"][0], "it is told once"
    assert "flatten" in capsys.readouterr().out
    stored = json.loads((tmp_path / "ablation" / "flatten" / "fold0-seed0" / "config.json").read_text())
    assert (stored["training"]["lr"], stored["model"]["cnn"]["head"]) == (0.003, "flatten"), "both settings hold"


def test_the_shipped_variants_are_settings_that_there_are():
    variants = ablate.read_variants(Path(ablate.__file__).parent / "ablation.toml")
    assert next(iter(variants.values())) == []
    recipe = TrainConfig(protocol="search", epochs=EPOCHS_SPEAKER_INDEPENDENT), ModelConfig()
    for settings in variants.values():
        assert bool(settings) == (with_settings(*recipe, settings) != recipe)


@pytest.mark.parametrize("text", ["", "[variants]", "[variants]\na = 1", "[variants"])
def test_a_file_without_variants_is_one_line(text, tmp_path, capsys):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    assert ablate.main(["--variants", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_an_unknown_variant_is_named(variants, capsys):
    assert ablate.main(["--variants", str(variants), "--only", "nothing"]) == 2
    assert "no such variant: nothing" in capsys.readouterr().err


def test_nothing_is_compared_without_the_recipe():
    with pytest.raises(ValueError, match="no training of 'the recipe' came to its end"):
        ablate.compare("search", {"the recipe": [], "flatten": []}, {"the recipe": [], "flatten": [{}]})
