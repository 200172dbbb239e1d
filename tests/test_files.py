"""What is written can be read by a program and by a person."""

import json
import os
import stat

import pytest

from ser_gpu.errors import InputError
from ser_gpu.files import read_json, write_json


def test_json_is_what_it_was(tmp_path):
    nested = {"a": [], "b": {"c": [1, 2, {"x": 1}], "d": None}, "é": [{"r": [1, 2]}, {"r": 3}]}
    odd = {3: True, None: 1, True: 2, 1.5: {}, 'a "b"': "{"}
    for content in ({}, [], "größe", nested, odd, [1, [2, [3]], (4, 5)]):
        write_json(tmp_path / "it.json", content)
        assert read_json(tmp_path / "it.json") == json.loads(json.dumps(content))


def test_what_is_not_json_is_named(tmp_path):
    for content in (b"{", b"\xff"):
        (tmp_path / "it.json").write_bytes(content)
        with pytest.raises(InputError, match=r"it\.json: is not JSON"):
            read_json(tmp_path / "it.json")


@pytest.mark.parametrize("name", [250 * "x" + ".json", "a." + 253 * "x", 80 * "声" + ".json"])
def test_the_longest_names_can_be_written(name, tmp_path):
    write_json(tmp_path / name, {})
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_json_has_no_word_for_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "it.json", {"rows": [float("nan")]})
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_the_mode_of_any_new_one_and_the_umask_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("another thread would make files for everybody"))
    write_json(tmp_path / "it.json", {})
    (tmp_path / "other").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1
