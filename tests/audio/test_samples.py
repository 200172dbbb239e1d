"""Samples of every type and layout, and sample rates of every type."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays, floating_dtypes, integer_dtypes, unsigned_integer_dtypes
from hypothesis.strategies import complex_numbers, dates, floats, from_type, integers, just, none, one_of, text

from ser_gpu.audio.reader import HIGHEST_RATE, LOWEST_RATE
from ser_gpu.audio.samples import MOST_CHANNELS, blocks, channels_of, checked_rate
from ser_gpu.errors import AudioError
from tests.audio.conftest import or_one_line


def values(audio) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(list(blocks(channels_of(audio, "audio"))), axis=1))


@pytest.mark.parametrize(
    "rate",
    [
        48_000,
        48_000.0,
        np.int64(48_000),
        np.uint16(48_000),
        np.float32(48_000),
        np.array(48_000),
        torch.tensor(48_000),
        torch.tensor(48_000.0),
        Fraction(96_000, 2),
        Decimal(48_000),
    ],
    ids=repr,
)
def test_a_rate_is_a_whole_number_of_any_type(rate):
    checked = checked_rate(rate, "audio")
    assert (type(checked), checked) == (int, 48_000)


NO_RATES = [
    True,
    np.True_,
    torch.tensor(True),
    None,
    "48000",
    b"48000",
    48_000.5,
    Fraction(96_001, 2),
    Decimal("0.5"),
    Decimal("NaN"),
    float("nan"),
    float("inf"),
    48_000 + 1j,
    np.array([48_000]),
    [48_000],
    object(),
    0,
    -16_000,
    1,
    999,
    768_001,
    10**9,
    10**5_000,
]


@pytest.mark.parametrize("rate", NO_RATES, ids=lambda rate: type(rate).__name__)
def test_another_rate_is_one_line(rate):
    with pytest.raises(AudioError, match=r"audio: the sample rate must be (a whole number of|between)") as caught:
        checked_rate(rate, "audio")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@given(rate=one_of(integers(), floats(), complex_numbers(), none(), text(), dates(), from_type(type)))
def test_any_object_is_a_rate_or_one_line(rate):
    checked = or_one_line(lambda: checked_rate(rate, "audio"))
    assert checked is None or LOWEST_RATE <= checked <= HIGHEST_RATE


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_have_their_natural_scale(name, order):
    """Unsigned ones around their middle, as 8-bit WAV files have them."""
    limits = np.iinfo(name)
    middle = 0 if limits.min else 2 ** (limits.bits - 1)
    step = 2 ** (limits.bits - 2)
    audio = np.array([limits.min, middle - step, middle, middle + step, limits.max], np.dtype(name).newbyteorder(order))
    expected = torch.tensor([[-1.0, -0.5, 0.0, 0.5, 1.0]])
    torch.testing.assert_close(values(audio), expected, atol=2.0 ** (1 - limits.bits) + 1e-7, rtol=0)
    if order == "<":
        tensor = torch.from_numpy(audio.astype(name))
        assert torch.equal(values(tensor), values(audio))


FLOATS = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "longdouble"]


@pytest.mark.parametrize("dtype", FLOATS)
def test_floating_point_is_taken_as_it_is(dtype):
    expected = torch.tensor([[0.0, 0.5, -1.0, 1.5]])
    assert torch.equal(values(expected.numpy()[0].astype(dtype)), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn])
def test_tensors_of_any_precision(dtype):
    expected = torch.tensor([[0.0, 0.5, -1.0, 1.5]])
    assert torch.equal(values(expected[0].to(dtype)), expected)


def test_tensors_with_a_history_or_a_lazy_sign():
    expected = torch.tensor([[0.0, 0.5, -1.0]])
    assert torch.equal(values(expected[0].clone().requires_grad_() * 1), expected)
    assert torch.equal(values(expected[0].to_sparse()), expected)
    assert torch.equal(values(torch._neg_view(-expected[0])), expected)
    quantized = torch.quantize_per_tensor(expected[0], 0.5, 0, torch.qint8)
    assert torch.equal(values(quantized), expected)


LAYOUTS = {
    "reversed": lambda wave: wave[::-1].copy()[::-1],
    "every second": lambda wave: np.repeat(wave, 2)[::2],
    "one row of many": lambda wave: np.stack([wave, wave + 1])[0],
    "one column of many": lambda wave: np.stack([wave, wave + 1], axis=1)[:, 0],
    "read only": lambda wave: np.frombuffer(wave.tobytes(), wave.dtype),
    "unaligned": lambda wave: np.frombuffer(b"\0" + wave.tobytes(), wave.dtype, offset=1),
    "[1, T]": lambda wave: wave[None],
    "[T, 1]": lambda wave: wave[:, None],
    "Fortran": lambda wave: np.asfortranarray(wave[None]),
    "matrix": np.matrix,
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i2", ">i2"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_any_layout(layout, dtype):
    wave = (1_000 * np.random.default_rng(0).normal(size=500)).astype(dtype)
    assert torch.equal(values(LAYOUTS[layout](wave)), values(wave))


@pytest.mark.parametrize("channels", range(1, MOST_CHANNELS + 1))
def test_the_shorter_side_is_the_channels(channels):
    rows = np.random.default_rng(0).normal(size=(channels, 100)).astype(np.float32)
    assert torch.equal(values(rows), torch.from_numpy(rows))
    assert torch.equal(values(rows.T), torch.from_numpy(rows))
    assert torch.equal(values(torch.from_numpy(rows.T)), torch.from_numpy(rows))


def test_more_channels_are_a_batch_and_refused_with_a_hint():
    for shape in [(MOST_CHANNELS + 1, 16_000), (16_000, 32), (300, 300)]:
        with pytest.raises(AudioError, match=r"more than 8 channels: .* predict_many"):
            channels_of(np.zeros(shape), "audio")


class Refuses:
    def __array__(self, *_, **__):
        raise RuntimeError("no\narray")


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 3, 4)), r"expected samples as \[T\], .*, got \[2, 3, 4\]; a batch is for predict_many"),
        (np.float32(0.5), r"expected samples as"),
        (torch.tensor(0.5), r"expected samples as"),
        (np.zeros(0), "holds no samples"),
        (np.zeros((0, 2)), "holds no samples"),
        (np.zeros((2, 0)), "holds no samples"),
        (np.zeros(100, bool), "must be integers or floating point, got bool"),
        (torch.zeros(100, dtype=torch.bool), "must be integers or floating point, got bool"),
        (np.zeros(100, complex), "must be integers or floating point, got complex128"),
        (np.array(["a", "b"]), "must be integers or floating point"),
        (np.array([None, 0.5]), "must be integers or floating point, got object"),
        (np.zeros(4, "datetime64[s]"), "must be integers or floating point"),
        (np.zeros(4, [("left", "f4"), ("right", "f4")]), "must be integers or floating point"),
        (torch.zeros(100, device="meta"), "Tensor cannot be made an array"),
        (Refuses(), r"Refuses cannot be made an array \(no\)"),
        ([[0.5, 0.25], [0.5]], "list cannot be made an array"),
        ([1, 2, 3], "a list of whole numbers has no scale"),
    ],
)
def test_what_cannot_be_samples_is_one_line(audio, message):
    with pytest.raises(AudioError, match=message) as caught:
        channels_of(audio, "audio")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_a_list_of_fractions_beside_a_rate_is_samples():
    assert torch.equal(values([0.0, 0.5, -1.0]), torch.tensor([[0.0, 0.5, -1.0]]))


@given(
    audio=arrays(
        one_of(floating_dtypes(), integer_dtypes(), unsigned_integer_dtypes(), just(np.dtype(bool))),
        array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=20),
    )
)
def test_any_array_gives_each_of_its_values_once_or_one_line(audio):
    out = or_one_line(lambda: values(audio))
    if out is None:
        return
    assert out.dtype == torch.float32
    assert out.numel() == audio.size
    assert len(out) <= MOST_CHANNELS
    if audio.dtype.kind in "iu":
        assert out.abs().max() <= 1


def test_a_long_recording_is_taken_in_blocks():
    audio = np.zeros((2, 1_500_000), np.int16)
    sizes = [block.shape[1] for block in blocks(audio)]
    assert sum(sizes) == 1_500_000
    assert max(sizes) <= 2**19
