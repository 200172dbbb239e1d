import os
import shutil

import numpy as np
import pytest
import soundfile

from ser_gpu.audio.folder import audio_files
from tests.conftest import SAMPLE_RATE


def test_files_are_found_in_order_and_the_others_counted(tmp_path, no_ffmpeg):
    taken = ["A.WAV", "b.caf", "b.sph", "c/1.flac", "c/2.mp3", "d.opus"]
    left = {"c/.hidden.wav": "a hidden file", "notes.mid": ".mid: notes, not sound", "x.m4a": ".m4a needs ffmpeg"}
    left |= {"x.raw": ".raw: no header tells its rate", "y.M4A": ".m4a needs ffmpeg"}
    (tmp_path / "c").mkdir()
    (tmp_path / "folder.wav").mkdir()
    for name in [*taken, *left, "labels.csv", "README"]:
        (tmp_path / name).touch()
    found = audio_files(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found.paths] == taken
    assert {str(path.relative_to(tmp_path)): reason for path, reason in found.skipped} == left
    assert next(iter(found.skipped_counts.items())) == (".m4a needs ffmpeg", 2)


def test_every_format_that_libsndfile_writes_is_found_by_its_suffix(tmp_path):
    for suffix in (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au", ".w64", ".caf", ".voc", ".paf", ".rf64"):
        (tmp_path / f"clip{suffix}").touch()
    soundfile.write(tmp_path / "clip.nist", np.zeros(10), SAMPLE_RATE, format="NIST", subtype="PCM_16")
    assert len(audio_files(tmp_path).paths) == 13
    assert not audio_files(tmp_path).skipped


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_with_ffmpeg_recordings_of_phones_are_taken(tmp_path):
    (tmp_path / "memo.m4a").touch()
    assert audio_files(tmp_path).paths == (tmp_path / "memo.m4a",)


def test_a_pipe_in_a_folder_is_left_out_since_it_may_never_end(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "absent.wav")
    found = audio_files(tmp_path)
    assert found.skipped == ((tmp_path / "gone.wav", "a broken link"), (tmp_path / "pipe.wav", "a special file"))


def test_a_loop_of_links_ends(tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert audio_files(tmp_path).paths == (tmp_path / "a.wav",)


def test_a_folder_that_cannot_be_read_is_counted(tmp_path):
    assert audio_files(tmp_path / "absent").skipped_counts == {"a folder that cannot be read": 1}
