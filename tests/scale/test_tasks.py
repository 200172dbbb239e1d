"""crossvalidate --ray on a local Ray."""

from ser_gpu import crossvalidate
from tests.test_crossvalidate import assert_same_scores, command


def test_tasks_of_ray_give_the_same_table(tiny_ravdess, tmp_path, local_ray):
    """Bit for bit: each training has half of the cores as with --jobs 2."""
    for name, more in (("processes", []), ("tasks", ["--ray"])):
        assert crossvalidate.main(command(tiny_ravdess, tmp_path / name, "--jobs", "2", *more)) == 0
    assert_same_scores(tmp_path / "processes", tmp_path / "tasks")


def test_a_task_that_fails_is_named_with_its_reason(tiny_ravdess, tmp_path, local_ray, capsys):
    arguments = command(tiny_ravdess, tmp_path, "--lr", "-1", "--folds", "0", "--ray")
    assert crossvalidate.main(arguments) == 2
    assert "error: fold 0, seed 0: TrainConfig.lr must be positive" in capsys.readouterr().err
