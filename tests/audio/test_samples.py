"""Samples of every type and layout, sample rates of every type; mixing, resampling and level."""

import io
import itertools
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, floating_dtypes, integer_dtypes, unsigned_integer_dtypes

from ser_gpu.audio import reader, samples
from ser_gpu.audio.samples import (
    MOST_CHANNELS,
    blocks,
    channels_of,
    checked_rate,
    level,
    load,
    recording,
    resample,
)
from tests.audio.conftest import or_one_line, refused, same
from tests.conftest import SAMPLE_RATE


def values(audio) -> np.ndarray:
    return np.concatenate(list(blocks(channels_of(audio, "audio"))), axis=1)


RATES = (
    *(48_000, 48_000.0, np.int64(48_000), np.uint16(48_000), np.float32(48_000), np.array(48_000)),
    *(torch.tensor(48_000), torch.tensor(48_000.0), Fraction(96_000, 2), Decimal(48_000)),
)


@pytest.mark.parametrize("rate", RATES, ids=repr)
def test_a_rate_is_a_whole_number_of_any_type(rate):
    checked = checked_rate(rate, "audio")
    assert (type(checked), checked) == (int, 48_000)


NO_RATES = (
    *(True, np.True_, torch.tensor(True), None, "48000", b"48000", 48_000.5, Fraction(96_001, 2), Decimal("0.5")),
    *(Decimal("NaN"), float("nan"), float("inf"), 48_000 + 1j, np.array([48_000]), [48_000], object()),
    *(0, -16_000, 1, 999, 768_001, 10**9, 10**5_000),
)


@pytest.mark.parametrize("rate", NO_RATES, ids=lambda rate: type(rate).__name__)
def test_another_rate_is_one_line(rate):
    with refused(r"audio: the sample rate must be a whole number of Hz between"):
        checked_rate(rate, "audio")


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_have_their_natural_scale(name, order):
    """Unsigned ones around their middle, as 8-bit WAV files have them."""
    limits = np.iinfo(name)
    middle = 0 if limits.min else 2 ** (limits.bits - 1)
    step = 2 ** (limits.bits - 2)
    audio = np.array([limits.min, middle - step, middle, middle + step, limits.max], np.dtype(name).newbyteorder(order))
    np.testing.assert_allclose(values(audio), [[-1.0, -0.5, 0.0, 0.5, 1.0]], atol=2.0 ** (1 - limits.bits) + 1e-7)
    if order == "<":
        tensor = torch.from_numpy(audio.astype(name))
        assert same(values(tensor), values(audio))


FRACTIONS = [0.0, 0.5, -1.0, 1.5]
TENSOR = torch.tensor(FRACTIONS)


@pytest.mark.parametrize(
    "audio",
    [
        *(np.array(FRACTIONS, dtype) for dtype in ("<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "longdouble")),
        *(TENSOR.to(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)),
        TENSOR.clone().requires_grad_() * 1,
        torch._neg_view(-TENSOR),
        FRACTIONS,  # beside a rate
        np.array(FRACTIONS[::-1])[::-1],
        np.asfortranarray([FRACTIONS], ">f4"),
        np.frombuffer(b"\0" + np.array(FRACTIONS, "<f4").tobytes(), "<f4", offset=1),  # unaligned, read only
    ],
)
def test_floating_point_is_taken_as_it_is_in_any_layout(audio):
    assert same(values(audio), [FRACTIONS])


@pytest.mark.parametrize("channels", range(1, MOST_CHANNELS + 1))
def test_the_shorter_side_is_the_channels(channels):
    rows = np.random.default_rng(0).normal(size=(channels, 100)).astype(np.float32)
    for audio in (rows, rows.T, torch.from_numpy(rows.T)):
        assert same(values(audio), rows)


def refuse(*_, **__):
    raise RuntimeError("no\narray")


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 3, 4)), r"expected \[T\], .*, got \[2, 3, 4\]; a batch is for predict_many"),
        *((np.zeros(shape), "more than 8 channels: .* predict_many") for shape in [(9, 90), (90, 32), (30, 30)]),
        (np.float32(0.5), r"expected \[T\]"),
        (torch.tensor(0.5), r"expected \[T\]"),
        *((np.zeros(shape), "holds no samples") for shape in (0, (0, 2), (2, 0))),
        (np.zeros(100, bool), "must be integers or floating point, got bool"),
        (torch.zeros(100, dtype=torch.bool), "must be integers or floating point, got bool"),
        (np.zeros(100, complex), "must be integers or floating point, got complex128"),
        (np.array(["a", "b"]), "must be integers or floating point"),
        (np.array([None, 0.5]), "must be integers or floating point, got object"),
        (np.zeros(4, "datetime64[s]"), "must be integers or floating point"),
        (np.zeros(4, [("left", "f4"), ("right", "f4")]), "must be integers or floating point"),
        (torch.zeros(100, device="meta"), "Tensor cannot be made an array"),
        (type("Refuses", (), {"__array__": refuse})(), r"Refuses cannot be made an array \(no\)"),
        ([[0.5, 0.25], [0.5]], "list cannot be made an array"),
        ([1, 2, 3], "a list of whole numbers has no scale"),
    ],
)
def test_what_cannot_be_samples_is_one_line(audio, message):
    with refused(message):
        channels_of(audio, "audio")


@given(
    audio=arrays(
        st.one_of(floating_dtypes(), integer_dtypes(), unsigned_integer_dtypes(), st.just(np.dtype(bool))),
        array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=20),
    )
)
def test_any_array_gives_each_of_its_values_once_or_one_line(audio):
    out = or_one_line(lambda: values(audio))
    if out is None:
        return
    assert out.dtype == np.float32
    assert out.size == audio.size
    assert len(out) <= MOST_CHANNELS
    if audio.dtype.kind in "iu":
        assert np.abs(out).max() <= 1


def test_a_long_recording_is_taken_in_blocks():
    audio, before = np.zeros((2, 1_500_000), np.int16), np.geterr()
    sizes = []
    for block in blocks(audio):
        sizes.append(block.shape[1])
        assert np.geterr() == before, "who takes a block keeps the settings of NumPy"
    assert sum(sizes) == 1_500_000
    assert max(sizes) <= 2**19


@given(st.lists(st.lists(st.integers(0, 9), max_size=9), max_size=9), st.integers(1, 12) | st.just(math.inf))
def test_regrouping_keeps_every_sample_in_order(blocks, size):
    pieces = list(samples.regroup(iter([np.array(block) for block in blocks]), size))
    assert [sample for piece in pieces for sample in piece.tolist()] == list(itertools.chain(*blocks))
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)


def heard(audio, rate=SAMPLE_RATE) -> np.ndarray:
    """Samples in memory, whole."""
    return next(recording(audio, rate, SAMPLE_RATE, math.inf)[1])


def tone(rate, hertz=440.0, seconds=0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


def test_channels_are_mixed_and_the_level_is_set_and_where_they_cancel_it_is_the_louder_one():
    voice, other = tone(SAMPLE_RATE), 0.5 * tone(SAMPLE_RATE, 1000)
    np.testing.assert_allclose(heard(np.stack([voice, other])), level(voice + other), atol=1e-6)
    expected = heard(voice)
    for channels in ([voice, -voice], [0.5 * voice, -voice], [voice + 0.1, 0.3 - 0.9 * voice]):
        found = heard(np.stack(channels))
        assert min(np.abs(found - expected).max(), np.abs(found + expected).max()) < 1e-4, "its sign is not heard"
    quiet_rest = np.stack([voice, *np.zeros((7, len(voice)), np.float32)])
    np.testing.assert_allclose(heard(quiet_rest), expected, atol=1e-6)


def test_channels_may_cancel_in_a_part_of_a_recording_or_in_most_of_eight():
    """Two recordings that were joined; the silence before a voice decides nothing."""
    voice, silence = tone(SAMPLE_RATE, seconds=8.0), np.zeros(2 * SAMPLE_RATE, np.float32)
    sound = np.concatenate([silence, voice, voice])
    for signs in ([1, -1], [-1, 1, 1, -1, 1, -1, 1, -1]):
        turned = np.concatenate([silence, voice, signs[-1] * voice])
        found = heard(np.stack([turned if sign < 0 else sound for sign in signs]))
        np.testing.assert_allclose(np.abs(found), np.abs(heard(sound)), atol=0.01)


SCENES = np.random.default_rng(0).normal(size=(3, 2, SAMPLE_RATE)).astype(np.float32)
SCENES[1, 1] = -SCENES[1, 0]


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(1, SCENES.shape[2] * 3), max_size=30))
def test_however_a_recording_is_cut_the_mix_is_the_same(cuts):
    recorded = np.concatenate(SCENES, axis=1)  # the middle of it cancels
    whole, mixer = samples.Mixer(SAMPLE_RATE, "audio"), samples.Mixer(SAMPLE_RATE, "audio")
    expected = np.concatenate([whole(recorded), whole.rest()])
    assert np.abs(expected).reshape(3, -1).mean(axis=1).min() > 0.5, "no part is lost"
    parts = [mixer(part) for part in np.split(recorded, sorted(cuts), axis=1)]
    assert same(np.concatenate([*parts, mixer.rest()]), expected)


def test_each_channel_is_a_recording_of_its_own(tmp_path):
    left, right = tone(SAMPLE_RATE), tone(SAMPLE_RATE, 1000)
    soundfile.write(tmp_path / "talk.wav", np.stack([left, right], 1), SAMPLE_RATE, subtype="FLOAT")
    whole = (tmp_path / "talk.wav").read_bytes()
    for audio in (tmp_path / "talk.wav", whole, io.BytesIO(whole), (SAMPLE_RATE, np.stack([left, right]))):
        channels = samples.apart(audio)
        assert [str(each)[-10:] for each in channels] == [" channel 1", " channel 2"]
        for channel, expected in zip(channels, (left, right), strict=True):
            name, pieces = recording(channel, None, SAMPLE_RATE)
            assert name == str(channel)
            np.testing.assert_allclose(next(pieces), level(expected), atol=1e-6)

    class Broken(io.BytesIO):
        def read(self, *size):
            raise OSError("gone")

    for audio, problem in (
        (io.BytesIO(b"these are words"), "stream: is text"),
        (5, "audio: int is no recording"),
        (Broken(b"RIFF"), r"stream: cannot be read \(OSError: gone\)"),
        (io.StringIO("RIFF"), "stream: cannot be read"),
    ):
        (unread,) = samples.apart(audio)
        with refused(problem):
            heard(unread)


def test_a_recording_keeps_its_number_of_channels():
    mixer = samples.Mixer(SAMPLE_RATE, "stream")
    mixer(np.zeros((2, 10), np.float32))
    for rows in (1, 3):
        with refused(f"stream: has {rows} channels after 2"):
            mixer(np.zeros((rows, 10), np.float32))


def test_level_takes_the_offset_out_and_keeps_the_shape():
    wave = tone(SAMPLE_RATE)
    for changed in (wave, 0.01 * wave + 0.2, -3e4 + 1e4 * wave, 1e29 * wave):
        levelled = level(changed)
        assert np.abs(levelled).max() == 1
        assert abs(levelled.mean()) < 1e-6
        np.testing.assert_allclose(levelled, level(wave), atol=2e-5)
    for constant in (0.7, 0.0):
        assert not level(np.full(100, constant)).any()


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 44_101, 48_000, 192_000])
def test_blocks_and_segments_hold_the_samples_of_the_whole(tmp_path, rate, monkeypatch):
    noise = np.random.default_rng(0).normal(size=(2 * rate + 17, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, rate, subtype="FLOAT")
    expected = heard(noise, rate)
    assert same(load(tmp_path / "a.wav", SAMPLE_RATE), expected)
    monkeypatch.setattr(reader, "_BLOCK_VALUES", 2 * 3_001)
    assert same(load(tmp_path / "a.wav", SAMPLE_RATE), expected), "how it is cut changes no bit"
    pieces = list(recording(tmp_path / "a.wav", None, SAMPLE_RATE, 0.7)[1])
    assert [len(piece) for piece in pieces[:2]] == [11_200] * 2
    assert sum(map(len, pieces)) == len(expected)
    for piece, part in zip(pieces, np.split(expected, range(11_200, len(expected), 11_200)), strict=True):
        # the level of a piece is set from samples of which the whole's level has rounded each
        np.testing.assert_allclose(piece, level(part), atol=1e-5)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 96_000, 192_000, 767_999, 768_000])
def test_resampling_keeps_a_tone(rate):
    low, expected = resample(tone(rate), rate, SAMPLE_RATE), tone(SAMPLE_RATE)
    assert abs(len(low) - len(expected)) <= 1
    middle = slice(1_000, 6_000)
    # far from the ends, where the filter reaches into silence: the ripple is 1e-8, what is left is float32
    np.testing.assert_allclose(low[middle], expected[middle], atol=1e-4)


def test_resampling_keeps_what_the_lower_rate_can_hold_and_removes_the_rest():
    high, higher = (resample(tone(48_000, hertz=hertz), 48_000, SAMPLE_RATE)[500:-500] for hertz in (7_200, 8_100))
    assert 0.999 < np.abs(high).max() < 1.001
    assert np.abs(higher).max() < 1e-4


@given(
    size=st.integers(1, 50),
    from_rate=st.sampled_from([1_000, 7_999, 16_000, 44_101, 48_000, 768_000]),
    to_rate=st.sampled_from([1_000, 16_000, 22_050, 768_000]),
)
def test_a_few_samples_have_their_length_at_any_ratio(size, from_rate, to_rate):
    out = resample(np.full(size, 0.5), from_rate, to_rate)
    assert len(out) == math.ceil(size * to_rate / from_rate)
    assert np.isfinite(out).all()


def test_resampling_keeps_the_length_of_a_long_recording_at_an_odd_rate_and_all_at_the_same():
    assert len(resample(np.zeros(44_101 * 60 + 7), 44_101, SAMPLE_RATE)) == 60 * SAMPLE_RATE + 3
    assert same(resample(tone(16_000), 16_000, 16_000), tone(16_000))
    assert resample(np.zeros(0), 48_000, 16_000).shape == (0,)
