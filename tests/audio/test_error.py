import pytest
from hypothesis import given
from hypothesis.strategies import text

from ser_gpu.errors import (
    LONGEST_MESSAGE,
    AudioError,
    InputError,
    MissingExtraError,
    NoSpeechError,
    UnexpectedError,
    extra,
    reason,
)


@given(name=text(max_size=400), problem=text(max_size=400))
def test_any_message_is_one_short_line_that_can_be_printed(name, problem):
    message = str(AudioError.of(name, problem))
    assert len(message) <= LONGEST_MESSAGE
    assert message.isprintable()


def test_a_long_name_keeps_its_end_and_the_problem_stays_whole():
    message = str(AudioError.of("/folder" * 60 + "/clip.wav", "is empty"))
    assert message.startswith("...")
    assert message.endswith("/clip.wav: is empty")


def test_a_line_break_in_a_name_makes_no_second_line_and_what_is_no_utf8_is_escaped():
    for error in (InputError, AudioError, NoSpeechError, UnexpectedError):
        assert str(error("a\nb.wav: no speech found")) == r"a\nb.wav: no speech found"
    assert str(AudioError.of("a\nb.wav", "is empty")) == r"a\nb.wav: is empty"
    assert str(AudioError.of(b"\xff.wav".decode(errors="surrogateescape"), "is empty")) == "\\udcff.wav: is empty"


def test_a_reason_is_the_first_line_without_its_full_stop():
    assert reason(ValueError("Wrong  thing.\nAnd more.")) == "Wrong thing"
    assert reason(OSError(2, "No such file")) == "No such file"
    assert reason(ValueError()) == "ValueError"


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.part.of_it"])
def test_a_package_that_is_missing_is_named_with_its_extra(module):
    with pytest.raises(MissingExtraError, match=r"^no_such_package is not installed: pip install 'ser_gpu\[onnx\]'$"):
        extra(module, "onnx")


def test_what_a_package_itself_misses_is_no_missing_extra(tmp_path, monkeypatch):
    (tmp_path / "there_but_broken.py").write_text("import there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'there'") as caught:
        extra("there_but_broken", "onnx")
    assert not isinstance(caught.value, MissingExtraError)
