import os

import numpy as np
import soundfile

from ser_gpu.audio.folder import HIDDEN, audio_files
from tests.conftest import SAMPLE_RATE


def test_files_are_found_in_order_and_the_others_counted(tmp_path, no_ffmpeg):
    taken = ["A.WAV", "b.caf", "b.sph", "c/1.flac", "c/2.mp3", "d.opus"]
    left = dict.fromkeys(("c/.hidden.wav", ".Trash/old.wav", "c/__MACOSX/x.wav"), HIDDEN)
    left |= dict.fromkeys(("x.m4a", "y.M4A"), ".m4a needs ffmpeg")
    left |= {"notes.mid": ".mid: notes, not sound", "x.raw": ".raw: no header tells its rate"}
    for folder in ("c/__MACOSX", ".Trash", ".git", "folder.wav"):
        (tmp_path / folder).mkdir(parents=True)
    for name in [*taken, *left, "labels.csv", "README"]:
        (tmp_path / name).touch()
    found = audio_files(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found.paths] == taken
    assert {str(path.relative_to(tmp_path)): reason for path, reason in found.skipped} == left
    assert [*found.skipped_counts.items()][:2] == [(HIDDEN, 3), (".m4a needs ffmpeg", 2)]


def test_every_format_that_libsndfile_writes_is_found_by_its_suffix(tmp_path):
    for suffix in (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au", ".w64", ".caf", ".voc", ".paf", ".rf64"):
        (tmp_path / f"clip{suffix}").touch()
    soundfile.write(tmp_path / "clip.nist", np.zeros(10), SAMPLE_RATE, format="NIST", subtype="PCM_16")
    assert len(audio_files(tmp_path).paths) == 13
    assert not audio_files(tmp_path).skipped


def test_pipes_and_broken_links_are_left_out_and_a_loop_of_links_in_a_hidden_folder_ends(tmp_path):
    (hidden := tmp_path / ".cache" / "__MACOSX").mkdir(parents=True)
    (hidden / "a.wav").touch()
    (hidden / "loop").symlink_to(hidden)
    os.mkfifo(hidden / "pipe.wav")  # which may never end
    (hidden / "gone.wav").symlink_to(hidden / "absent.wav")
    found = audio_files(hidden)
    assert found.paths == (hidden / "a.wav",)
    assert found.skipped == ((hidden / "gone.wav", "a broken link"), (hidden / "pipe.wav", "a special file"))
    assert audio_files(hidden / "absent").skipped_counts == {"a folder that cannot be read": 1}
