import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from experiments import ablate
from ser_gpu.config import ModelConfig
from ser_gpu.evaluation import metrics
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


def test_the_variants_for_any_voice_are_settings_that_there_are():
    common = ["training.grouped_share=0.5", "tta.enabled=false"]
    recipe = with_settings(TrainConfig(), ModelConfig(), common)
    variants = ablate.read_variants(Path(ablate.__file__).parent / "any_voice.toml")
    found = [with_settings(*recipe, settings) for settings in variants.values()]
    assert found[0][1].augment.channel_probability == 0.5
    assert all(found.count(each) == 1 for each in found)
    assert len({ablate._slug(name) for name in variants}) == len(variants)


def predictions_of(shares):
    return "part,clip,corpus,emotion,predicted,sad,angry,happy\n" + "".join(
        f"{part},{number},{corpus},{emotion},happy,{sad},{angry},{happy}\n"
        for number, (part, corpus, emotion, sad, angry, happy) in enumerate(shares)
    )


def test_variants_are_compared_on_corpora_that_were_held_out(tmp_path, capsys):
    """Trainings that were made elsewhere, of which nothing is trained again."""
    (tmp_path / "variants.toml").write_text('[variants]\n"one.5" = ["cnn.width=4"]\ntwo = []\n')
    own = {"manifest_hash": "", "bfloat16": False, "temperature": 1.0, "config": {}, "environment": {}}
    for slug, sad in (("one-5", 0.3), ("two", 0.1)):
        for seed in (0, 1):
            out = tmp_path / "ablation" / slug / f"fold0-seed{seed}"
            out.mkdir(parents=True)
            answers = [("validation", "a", "sad", 0, 0, 1), ("test", "b", "happy", 0.1, 0.1, 0.8)]
            answers += [("test", "b", "happy", 0.1, 0.5, 0.4), ("test", "b", "angry", 0.1, 0.7, 0.2)]
            answers += [("test", "c", "sad", sad, 0.4 - sad, 0.6), ("test", "c", "angry", 0.1, 0.9, 0.0)]
            (out / "predictions.csv").write_text(predictions_of(answers))
            (out / "result.json").write_text(
                json.dumps({"fold": 0, "seed": seed, "parameters": 9, "seconds": 1.0, **own})
            )
    command = ["--variants", str(tmp_path / "variants.toml"), "--runs", str(tmp_path), "--seeds", "0", "1"]
    command += ["--score", "test"]
    assert ablate.main([*command, "--corpora", "b=b", "c=c", "--test-corpora", "b", "c"]) == 0
    one, two = json.loads((tmp_path / "ablation" / "table.json").read_text())["variants"]
    assert (one["name"], one["difference"], two["difference"]) == ("one.5", 0.0, -0.25)
    assert [*one["test"]["by_corpus"]] == ["b", "c"]
    of_b, of_c = two["test"]["by_corpus"].values()
    assert (one["test"]["by_corpus"]["c"]["uar"], of_c["uar"]) == (1.0, 0.5), "of c among sad and angry"
    assert of_b["uar"] == 0.75
    # the temperature for c is the best one for b, whose clips are happy or angry
    temperature = of_c["temperature"]
    logits = np.log([[0.8, 0.1], [0.4, 0.5], [0.2, 0.7]])
    assert temperature == pytest.approx(metrics.fit_temperature(logits, np.array([0, 0, 1])), rel=1e-3)
    shares = softmax(np.log([[0.1, 0.3], [1e-1, 9e-1]]) / temperature, axis=1)  # sad, angry
    assert of_c["log_loss"] == pytest.approx(-np.log([shares[0, 0], shares[1, 1]]).mean(), rel=1e-3)
    assert of_c["confidence_above_accuracy"] == pytest.approx(shares.max(axis=1).mean() - 0.5, rel=1e-3)
    assert two["test"]["log_loss"] == pytest.approx((of_b["log_loss"] + of_c["log_loss"]) / 2)
    assert two["rows"][1]["test"] == two["test"], "both seeds say the same"
    shown = capsys.readouterr().out
    assert "above" in shown
    assert "  c" in shown
    assert ablate.main(command) == 2
    assert "--score test goes with --test-corpora alone" in capsys.readouterr().err


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
