"""What a library refuses in a file of the user is one line that names the file."""

import pytest

from experiments import ablate, pitch
from ser_gpu.errors import InputError


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (pitch.read, b"clip,median_hz\na,high\n"),
        (pitch.read, b"name\na\n"),
        (pitch.read, b"\xff"),
        (ablate.read_variants, b"variants = "),
        (ablate.read_variants, b"\xff"),
    ],
)
def test_a_damaged_file_is_named(read, content, tmp_path):
    path = tmp_path / "a\nb.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(str(tmp_path / r"a\nb.csv: "))
