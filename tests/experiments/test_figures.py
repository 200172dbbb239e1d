"""Every figure can be drawn, says what it is given, and names its axes."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from experiments import acoustics, figures
from experiments.acoustics import Interval
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.evaluation.figures import save
from ser_gpu.timeline.plot import COLOURS

HERTZ = acoustics.band_centres(64, 20.0, 8_000.0)


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def drawn(figure):
    """The figure, once it has been drawn without a complaint, and with labelled axes."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    for axes in figure.axes:
        if axes.axison and axes.get_label() != "<colorbar>" and not axes.get_shared_x_axes().get_siblings(axes)[1:]:
            assert axes.get_xlabel() or axes.get_ylabel()
    return figure


def interval(values):
    return Interval(values, values - 1, values + 1)


def test_counts_are_those_of_the_clips(clips):
    by_emotion, by_speaker, by_gender = drawn(figures.counts(clips, EMOTIONS, "title")).axes
    assert {to_hex(bar.get_facecolor()) for bar in by_emotion.patches} == set(COLOURS.values())
    assert sum(bar.get_width() for bar in by_emotion.patches) == len(clips)
    assert [bar.get_height() for bar in by_speaker.patches] == [60] * 24
    assert [bar.get_height() for bar in by_gender.patches] == [720, 720]


def test_distributions_have_a_box_an_emotion(clips, generator):
    labels = np.array([EMOTIONS.index(clip.emotion) for clip in clips])
    columns = {"length (s)": generator.random(len(clips)), "level (dB)": labels.astype(float)}
    length, level = drawn(figures.distributions(columns, labels, EMOTIONS, "title")).axes
    assert (length.get_xlabel(), level.get_xlabel()) == tuple(columns)
    assert [label.get_text() for label in length.get_yticklabels()] == list(EMOTIONS)
    assert [to_hex(box.get_facecolor()) for box in level.patches] == list(COLOURS.values())


def test_distances_have_a_body_a_relation(generator):
    axes = drawn(
        figures.distances({"repetitions": generator.random(20), "strangers": generator.random(90)}, "title")
    ).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "repetitions\n(20 pairs)",
        "strangers\n(90 pairs)",
    ]


def test_a_profile_has_an_interval_an_emotion(generator):
    values = generator.normal(size=8)
    (axes,) = drawn(figures.acoustic_profile({"pitch (semitones)": interval(values)}, EMOTIONS, "title")).axes
    assert np.asarray(axes.collections[1].get_offsets())[:, 0] == pytest.approx(values)


def test_trimming_says_how_much_goes():
    sound = np.sin(np.arange(16_000) / 9)
    figure = drawn(figures.trimming(sound, (4_000, 12_000), sound, 16_000, 30.0, 2048, 512))
    assert "50% of this clip" in figure.get_suptitle()


def test_spectrograms_share_one_colour_scale(generator):
    by_name = {name: -80 * generator.random((64, 20)) * share for name, share in (("a", 1.0), ("b", 0.5), ("c", 0.1))}
    figure = drawn(figures.spectrograms(by_name, 3.0, HERTZ, "title", columns=2))
    limits = {axes.images[0].get_clim() for axes in figure.axes[:3]}
    assert limits == {(min(each.min() for each in by_name.values()), 0)}
    assert [axes.get_title() for axes in figure.axes[:3]] == list(by_name)


def test_the_title_of_a_difference_is_true():
    difference = Interval(np.where(HERTZ > 1_000, 3.0, -3.0), np.where(HERTZ > 1_000, 2.0, -4.0), np.zeros(64) - 2)
    difference = Interval(difference.mean, difference.low, difference.mean + 1)
    title = drawn(figures.band_difference(HERTZ, difference, "angry", "sad", 24)).get_suptitle()
    more = int((HERTZ > 1_000).sum())
    assert title.startswith(f"Angry has more of its energy in {more} of 64 bands, between 1,0")
    assert f"less in {64 - more}" in title
    title = drawn(figures.band_difference(HERTZ, interval(np.zeros(64)), "angry", "sad", 24)).get_suptitle()
    assert title == "Angry has more of its energy in 0 of 64 bands,\nand less in 0"


def test_spectra_are_lines_with_names():
    groups = {"high arousal": interval(np.zeros(64)), "low arousal": interval(np.ones(64))}
    (axes,) = drawn(figures.spectra(HERTZ, groups, "title")).axes
    assert [line.get_label() for line in axes.lines] == list(groups)


def test_from_wave_to_mel_counts_cells(generator):
    power = generator.random((64, 20)) ** 4
    decibels = np.maximum(10 * np.log10(power / power.max()), -80)
    figure = drawn(figures.from_wave_to_mel(power, np.eye(64, 513), decibels, HERTZ, 3.0))
    assert figure.axes[0].get_title() == f"{int((HERTZ < 1_000).sum())} of 64 bands lie below 1 kHz"
    share = (power > power.max() / 100).mean()
    assert figure.axes[2].get_title().startswith(f"power: {share:.0%} of cells")


def test_overfitting_shows_both_parts_of_every_variant():
    row = {"validation_accuracy": [0.2, 0.3], "train_accuracy": [0.5, 0.9]}
    panels = drawn(figures.overfitting([row | {"name": name} for name in ("with", "without")], "title")).axes
    assert [axes.get_title() for axes in panels] == ["with", "without"]
    for axes in panels:
        assert [line.get_label() for line in axes.lines] == ["training clips", "new speakers"]
        assert [text.get_text() for text in axes.texts] == ["90%", "30%"], "the end of each"


def test_variants_are_in_order_of_their_difference():
    names = ("the recipe", "b", "a", "unpaired")
    rows = [
        {"name": name, "difference": change, "standard_error": error, "runs": 2}
        for name, change, error in zip(names, (0.0, 0.02, -0.03, None), (0.0, None, 0.01, None), strict=True)
    ]
    (axes,) = drawn(figures.ablation(rows, "title")).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert "n = 2 trainings" in axes.get_xlabel()


def test_evidence_is_under_its_clip(generator):
    clips = [
        {"name": name, "decibels": -80 * generator.random((64, 20)), "evidence": generator.normal(size=(64, 20))}
        for name in ("angry", "sad")
    ]
    figure = drawn(figures.occlusion(clips, 3.0, HERTZ, "title"))
    limits = {axes.images[0].get_clim() for axes in figure.axes[2:4]}
    most = max(np.abs(clip["evidence"]).max() for clip in clips)
    assert limits == {(-most, most)}, "one scale"


def test_protocols_show_every_training_and_the_mean():
    table = {
        "runs": 3,
        "rows": [{"test": {"uar": score}} for score in (0.5, 0.6, 0.7)],
        "summary": {"test": {"uar": {"mean": 0.6}}},
    }
    (axes,) = drawn(figures.protocols({"stratified": table, "actors5": table}, 4, "title")).axes
    assert sum(len(points.get_offsets()) for points in axes.collections) == 6
    assert "0.600" in [text.get_text() for text in axes.texts]
    assert [0.25, 0.25] in [list(line.get_xdata()) for line in axes.lines], "chance is one in four"


def test_emotions_and_errors_by_protocol():
    scores = {"stratified": dict.fromkeys(EMOTIONS, 0.9), "actors5": dict.fromkeys(EMOTIONS, 0.6)}
    (axes,) = drawn(figures.emotions_by_protocol(scores, EMOTIONS, "title")).axes
    assert [line.get_label() for line in axes.lines] == list(scores)
    side = {"errors": 120, "kept": 0.7, "chance": 0.4}
    (axes,) = drawn(figures.errors_by_side({"arousal": side, "valence": side}, "title")).axes
    assert [bar.get_height() for bar in axes.patches] == [0.7, 0.7]


def test_the_counterfactual_says_what_the_ends_cost():
    shifts = [
        {"semitones": s, "by": {"gender": {g: {"accuracy": a, "predicted": [1 / 8] * 8} for g in ("male", "female")}}}
        for s, a in ((-4, 0.7), (0, 0.8), (4, 0.75))
    ]
    figure = drawn(figures.pitch_counterfactual(shifts, EMOTIONS))
    assert figure.get_suptitle().startswith(
        "-4 and +4 semitones move the accuracy of men's voices by -10 and -5 points"
    )
    assert [1 / 8, 1 / 8] in [list(line.get_ydata()) for line in figure.axes[0].lines], "chance"


def test_pipeline_shows_two_waveforms_and_two_spectrograms(generator):
    wave, decibels = generator.normal(size=800), -80 * generator.random((64, 20))
    figure = drawn(figures.pipeline(wave, wave, decibels, decibels, dict.fromkeys(EMOTIONS, 1 / 8), 16_000))
    assert [len(axes.lines) for axes in figure.axes[:2]] == [1, 1]
    assert [axes.images[0].get_array().shape for axes in figure.axes[2:4]] == [(64, 20)] * 2


def test_a_compact_png_is_smaller_and_looks_the_same(generator, tmp_path):
    figure = figures.spectrograms({"noise": -80 * generator.random((64, 20))}, 3.0, HERTZ, "title")
    full = io.BytesIO()
    figure.savefig(full, format="png", dpi=110)
    save(figure, tmp_path / "compact.png", dpi=110)
    compact = (tmp_path / "compact.png").read_bytes()
    assert len(compact) < 0.9 * len(full.getvalue())
    before, after = (
        np.asarray(Image.open(io.BytesIO(each)).convert("RGB"), float) for each in (full.getvalue(), compact)
    )
    assert np.abs(before - after).mean() < 1, "of 255: a step of 256 colours"
