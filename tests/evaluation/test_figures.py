import io

import numpy as np
import pytest
from PIL import Image

from ser_gpu.evaluation import figures, metrics

LABELS = ("neutral", "happy", "sad")


def drawn(figure):
    """The figure, once it has been drawn without a complaint."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def row(epoch, **more):
    return {"epoch": epoch, "train_loss": 2.0, **more}


def test_a_confusion_matrix_shows_every_clip():
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 5]])
    axes = drawn(figures.confusion(counts, LABELS, "title")).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(LABELS)
    assert sum(int(text.get_text()) for text in axes.texts) == counts.sum()


def test_reliability_tells_the_error_of_both_sides():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(3), size=100)
    rows = metrics.reliability(generator.integers(3, size=100), probabilities)
    panels = drawn(figures.reliability(rows, rows, title="title")).axes
    assert [f"ECE {metrics.calibration_error(rows):.3f}" in axes.get_title() for axes in panels] == [True, True]


def test_curves_are_of_what_was_measured():
    scores = {"validation_loss": 1.9, "validation_accuracy": 0.2, "validation_uar": 0.1}
    loss, score = drawn(figures.training_curves([row(1, **scores), row(2, **scores)], "title")).axes
    assert [len(axes.lines) for axes in (loss, score)] == [2, 2]
    (loss,) = drawn(figures.training_curves([row(1), row(2)], "title")).axes
    assert len(loss.lines) == 1


@pytest.mark.filterwarnings("error")
def test_any_label_can_be_drawn(tmp_path):
    path = tmp_path / "confusion.png"
    figures.save(figures.confusion(np.eye(3), ("a$b$", "\\alpha", "生气"), "$title$"), path)
    with Image.open(path) as image:
        assert min(image.size) > 400
        assert (np.asarray(image.convert("L")) < 128).mean() > 0.01, "there is ink on it"
