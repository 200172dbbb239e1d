import hashlib
import io
import shutil
import sys
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest.mock import Mock, call

import pytest

from ser_gpu import corpora
from ser_gpu.audio.folder import HIDDEN
from ser_gpu.corpora import ravdess
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.corpora.known import FOREIGN
from tests.conftest import official_names
from tests.corpora.conftest import touch

RAVDESS = corpora.get("ravdess")
SIXTY = official_names(actors=[1])
ESCAPING = "03-01-01-01-01-01-24"


def scanned(folder, *names):
    """What is found in a folder with these files in it."""
    if names:
        touch(folder, *names)
    return corpora.load(folder, "ravdess")


def test_parse_reads_every_field_and_repetitions_alone_share_a_group(clips):
    pairs = {(clip.group, clip.get("repetition")) for clip in clips}
    assert len(pairs) == len(clips) == 2 * len({group for group, _ in pairs})
    clip = RAVDESS.parse("some/where/03-01-06-02-01-02-12.flac")
    assert (clip.id, clip.emotion, clip.speaker, clip.gender) == ("03-01-06-02-01-02-12", "fearful", "12", "female")
    assert clip.corpus == "ravdess"
    assert clip.extra == (("intensity", "strong"), ("statement", "1"), ("repetition", "2"))
    other = RAVDESS.parse("03-01-01-01-01-01-01.wav")
    assert (other.gender, other.get("intensity"), other.get("statement")) == ("male", "normal", "1")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        *((n, FOREIGN) for n in ("clip.wav", "03-01-06-01-02-01.wav", "03-01-09-01-02-01-12.wav", "clip.mp4")),
        *((n, FOREIGN) for n in ("03-01-06-01-02-01-25.wav", "00-01-06-01-02-01-12.wav")),
        ("03-02-01-01-01-01-01.wav", "song"),
        ("01-01-01-01-01-01-01.wav", "video"),
        ("03-01-01-01-01-01-01.mp4", "video"),
    ],
)
def test_parse_tells_other_names_songs_and_videos(name, what):
    assert RAVDESS.parse(name) == what


def test_scan_counts_a_nested_copy_once_and_leaves_out_the_rest(tmp_path):
    names = official_names()
    copies = [f"audio_speech_actors_01-24/Actor_01/{name}.wav" for name in names[:60]]
    others = ["03-02-01-01-01-01-01.wav", "01-01-01-01-01-01-01.mp4", "02-01-01-01-01-01-01.wav", "my voice.wav"]
    found = scanned(tmp_path, *(f"Actor_{name[-2:]}/{name}.wav" for name in names), *copies, *others, "README.md")
    assert [clip.id for clip in found.clips] == sorted(names)
    assert (found.left_out, found.notice) == ({"duplicate": 60, "song": 1, "video": 2, "foreign": 1}, None)
    assert corpora.load(tmp_path).description == "RAVDESS speech: 1,440 clips, 24 speakers, 8 emotions"


def test_scan_refuses_a_folder_without_clips(tmp_path):
    with pytest.raises(ValueError, match=r"no RAVDESS speech clip found \(names like 03-01-06-01-02-01-12.wav\)$"):
        scanned(tmp_path)
    with pytest.raises(ValueError, match=r"left out: 1 video$"):
        scanned(tmp_path, "01-01-01-01-01-01-01.mp4")


def test_of_two_files_the_lossless_one_counts_and_what_cannot_be_read_is_counted_by_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / f"{SIXTY[3]}.wav").symlink_to(tmp_path / "absent.wav")
    there = (f"a/{SIXTY[0]}.mp3", f"b/{SIXTY[0]}.wav", f"c/{SIXTY[0]}.flac")
    found = scanned(tmp_path, *there, f"{SIXTY[1]}.m4a", f"{SIXTY[2]}.mp4", f"__MACOSX/._{SIXTY[0]}.wav")
    assert [clip.path.name for clip in found.clips] == [f"{SIXTY[0]}.wav"]
    unread = {".m4a needs ffmpeg": 1, ".mp4 needs ffmpeg": 1, HIDDEN: 1, "a broken link": 1}
    assert found.left_out == unread | {"duplicate": 2}


def test_folders_that_are_links_are_followed_once(tmp_path):
    touch(tmp_path / "elsewhere", *(f"{name}.wav" for name in SIXTY[:4]))
    (inside := tmp_path / "data").mkdir()
    (inside / "Actor_01").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(inside)
    found = scanned(inside)
    assert (len(found.clips), found.left_out) == (4, {})


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No variable names a folder, and the cache is empty."""
    monkeypatch.delenv("RAVDESS_DIR", raising=False)
    monkeypatch.delenv("SER_CORPORA_DIR", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)


def test_load_takes_the_variable_then_the_folder_of_all_corpora(tmp_path, nowhere, monkeypatch):
    one, among_all = (touch(tmp_path / folder / f"{SIXTY[0]}.wav") for folder in ("one", "all/RAVDESS"))
    monkeypatch.setenv("RAVDESS_DIR", str(one.parent))
    monkeypatch.setenv("SER_CORPORA_DIR", str(tmp_path / "all"))
    assert corpora.load().clips[0].path == corpora.load("").clips[0].path == one
    monkeypatch.delenv("RAVDESS_DIR")
    assert corpora.load().clips[0].path == among_all
    monkeypatch.setenv("RAVDESS_DIR", str(tmp_path / "absent"))
    with pytest.raises(ValueError, match=r"RAVDESS_DIR=.*absent: no such folder"):
        corpora.load()


def test_load_fills_the_default_folder_by_download_or_says_what_to_install(tmp_path, nowhere, monkeypatch):
    content = archive()
    with server(content) as url:
        monkeypatch.setattr(ravdess.download, "__kwdefaults__", {"url": url, "md5": md5(content), "progress": False})
        assert len(corpora.load().clips) == 60
    assert (tmp_path / "ser_gpu" / "ravdess").is_dir()
    assert len(corpora.load().clips) == 60, "the second time nothing is downloaded"
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "empty" / name)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ValueError, match=r"pooch is not installed: pip install 'ser_gpu\[train\]'"):
        corpora.load()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as members:
        for name in SIXTY:
            members.writestr(f"Actor_01/{name}.wav", name * 100)
        members.writestr("../../escaped.txt", "outside")
        for place in ("../../", "/tmp/", "Actor_01/../../../"):
            members.writestr(f"{place}{ESCAPING}.wav", "outside")
    return buffer.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@contextmanager
def server(content: bytes, send: int | None = None):
    """Serve `content` on loopback, but only its first `send` bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:send])

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/speech.zip"
        finally:
            http.shutdown()
            thread.join()


def downloaded(folder, content, *, send=None, expected=None, **options):
    """The folder that a download of `content` fills."""
    with server(content, send) as url:
        return ravdess.download(folder / "ravdess", url=url, md5=md5(expected or content), **options)


def test_a_download_that_is_damaged_or_breaks_off_keeps_nothing(tmp_path):
    content = archive()
    for damaged, send in ((content[:-1] + b"!", None), (content, len(content) // 2)):
        with pytest.raises(OSError, match="nothing was kept"):
            downloaded(tmp_path, damaged, send=send, expected=content)
        assert list(tmp_path.iterdir()) == []


def test_download_of_a_good_archive_uses_nothing_that_a_killed_one_left(tmp_path):
    content, bar = archive(), Mock()
    touch(tmp_path / "ravdess.part" / "ravdess" / "Actor_02" / "03-01-01-01-01-01-02.wav")
    folder = downloaded(tmp_path, content, progress=bar)
    assert bar.total == len(content)
    assert bar.mock_calls[-3:] == [call.reset(), call.update(len(content)), call.close()]
    assert len(scanned(folder).clips) == 60
    assert [path.name for path in tmp_path.iterdir()] == ["ravdess"], "the archive is removed, no member escapes"
    assert all(path.stat().st_size > 1 for path in folder.rglob("*.wav"))
    assert not Path(f"/tmp/{ESCAPING}.wav").exists()


def test_an_interrupted_unpacking_leaves_no_folder(tmp_path, monkeypatch):
    def interrupt(archive, folder):
        touch(folder / "a.wav")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "unpack_archive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        downloaded(tmp_path, archive())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ravdess
def test_scan_of_the_real_recordings(ravdess_dir):
    found = scanned(ravdess_dir)
    assert (len(found.clips), found.left_out, found.notice) == (1_440, {}, None)
    assert [sum(clip.emotion == emotion for clip in found.clips) for emotion in EMOTIONS] == [96] + [192] * 7
