import hashlib
import io
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ser_gpu.data import ravdess
from ser_gpu.results.console import DownloadBar
from tests.conftest import official_names


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_parse_reads_every_field():
    clip = ravdess.parse("some/where/03-01-06-02-01-02-12.flac")
    assert (clip.emotion, clip.intensity, clip.statement, clip.repetition, clip.actor) == (5, 2, 1, 2, 12)
    assert ravdess.EMOTIONS[clip.emotion] == "fearful"
    assert clip.sex == "female"
    assert ravdess.parse("03-01-01-01-01-01-01.wav").sex == "male"


@pytest.mark.parametrize(
    "name", ["clip", "03-01-06-01-02-01", "03-01-09-01-02-01-12", "03-01-06-01-02-01-25", "00-01-06-01-02-01-12"]
)
def test_parse_refuses_other_names(name):
    with pytest.raises(ValueError, match=name):
        ravdess.parse(f"{name}.wav")


def test_scan_counts_a_nested_copy_once_and_leaves_out_the_rest(tmp_path):
    names = official_names()
    for name in names:
        touch(tmp_path / f"Actor_{name[-2:]}" / f"{name}.wav")
    for name in names[:60]:
        touch(tmp_path / "audio_speech_actors_01-24" / "Actor_01" / f"{name}.wav")
    touch(tmp_path / "03-02-01-01-01-01-01.wav")
    touch(tmp_path / "01-01-01-01-01-01-01.mp4")
    touch(tmp_path / "02-01-01-01-01-01-01.wav")
    touch(tmp_path / "my voice.wav")
    touch(tmp_path / "README.md")
    found = ravdess.scan(tmp_path)
    assert [clip.name for clip in found.clips] == sorted(names)
    assert found.left_out == {"duplicate": 60, "song": 1, "video": 2, "foreign": 1}
    assert found.notice is None


def test_scan_says_in_one_line_that_clips_are_missing(tmp_path):
    for name in official_names(actors=[3]):
        touch(tmp_path / f"{name}.FLAC")
    notice = ravdess.scan(tmp_path).notice
    assert "60 of the 1,440" in notice
    assert "\n" not in notice


def test_scan_refuses_a_folder_without_clips(tmp_path):
    with pytest.raises(ValueError, match="no RAVDESS speech clip"):
        ravdess.scan(tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        ravdess.scan(tmp_path / "absent")


def test_locate_takes_the_named_folder_then_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("RAVDESS_DIR", str(tmp_path))
    assert ravdess.locate(None) == tmp_path
    with pytest.raises(ValueError, match="absent: no such folder"):
        ravdess.locate(tmp_path / "absent")


def test_locate_fills_the_default_folder_by_download(tmp_path, monkeypatch):
    monkeypatch.delenv("RAVDESS_DIR", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    monkeypatch.setattr(ravdess, "download", lambda folder, progress: folder.mkdir(parents=True))
    assert ravdess.locate(None) == tmp_path / "ser_gpu" / "ravdess"
    assert ravdess.locate(None).is_dir()


ESCAPING = "03-01-01-01-01-01-24"


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as members:
        for name in official_names(actors=[1]):
            members.writestr(f"Actor_01/{name}.wav", name * 100)
        members.writestr("../../escaped.txt", "outside")
        for place in ("../../", "/tmp/", "Actor_01/../../../"):
            members.writestr(f"{place}{ESCAPING}.wav", "outside")
    return buffer.getvalue()


@contextmanager
def server(content: bytes, send: int):
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


def everything_under(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_download_of_a_good_archive(tmp_path):
    content = archive()
    with server(content, len(content)) as url:
        folder = ravdess.download(
            tmp_path / "here" / "ravdess",
            url=url,
            md5=hashlib.md5(content).hexdigest(),
            progress=DownloadBar("RAVDESS"),
        )
    assert len(ravdess.scan(folder).clips) == 61
    assert everything_under(tmp_path) == everything_under(folder), "the archive is removed, no member escapes"
    assert not Path(f"/tmp/{ESCAPING}.wav").exists()


def test_download_of_a_corrupt_archive_keeps_nothing(tmp_path):
    content = archive()
    with server(content[:-1] + b"!", len(content)) as url, pytest.raises(OSError, match="nothing was kept"):
        ravdess.download(tmp_path / "ravdess", url=url, md5=hashlib.md5(content).hexdigest())
    assert everything_under(tmp_path) == []
    assert not (tmp_path / "ravdess").exists()


def test_download_that_breaks_off_keeps_nothing_and_can_be_repeated(tmp_path):
    content = archive()
    md5 = hashlib.md5(content).hexdigest()
    with server(content, len(content) // 2) as url, pytest.raises(OSError, match="nothing was kept"):
        ravdess.download(tmp_path / "ravdess", url=url, md5=md5)
    assert everything_under(tmp_path) == []
    with server(content, len(content)) as url:
        assert len(ravdess.scan(ravdess.download(tmp_path / "ravdess", url=url, md5=md5)).clips) == 61


@pytest.mark.parametrize("left", ["an archive", "a folder"])
def test_what_a_killed_download_left_is_not_used(left, tmp_path):
    content = archive()
    if left == "an archive":
        (tmp_path / "ravdess.zip").write_bytes(content[: len(content) // 2])
    else:
        touch(tmp_path / "ravdess.unpacking" / "Actor_02" / "03-01-01-01-01-01-02.wav")
    with server(content, len(content)) as url:
        folder = ravdess.download(tmp_path / "ravdess", url=url, md5=hashlib.md5(content).hexdigest())
    assert all(path.stat().st_size > 1 for path in everything_under(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["ravdess"]


def test_an_interrupted_unpacking_leaves_no_folder(tmp_path, monkeypatch):
    def interrupt(members, folder, infos):
        members.extract(infos[0], folder)
        raise KeyboardInterrupt

    content = archive()
    monkeypatch.setattr(zipfile.ZipFile, "extractall", interrupt)
    with server(content, len(content)) as url, pytest.raises(KeyboardInterrupt):
        ravdess.download(tmp_path / "ravdess", url=url, md5=hashlib.md5(content).hexdigest())
    assert list(tmp_path.iterdir()) == []


def test_a_member_that_lies_about_its_size_is_refused(tmp_path):
    """A bomb says that it is small; not a byte more than it says is written."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("03-01-01-01-01-01-01.wav", bytes(10_000_000))
        members.filelist[0].file_size = 100
    content = buffer.getvalue()
    with server(content, len(content)) as url, pytest.raises(OSError, match="not a whole zip archive"):
        ravdess.download(tmp_path / "ravdess", url=url, md5=hashlib.md5(content).hexdigest())
    assert list(tmp_path.iterdir()) == []


def test_download_refuses_what_is_no_zip_and_what_is_too_large(tmp_path, monkeypatch):
    with server(b"hello", 5) as url, pytest.raises(OSError, match="not a whole zip"):
        ravdess.download(tmp_path / "ravdess", url=url, md5=hashlib.md5(b"hello").hexdigest())
    monkeypatch.setattr(ravdess, "UNPACKED_BYTES_LIMIT", 1000)
    content = archive()
    with server(content, len(content)) as url, pytest.raises(OSError, match="more than 1,000 bytes"):
        ravdess.download(tmp_path / "ravdess", url=url, md5=hashlib.md5(content).hexdigest())
    assert everything_under(tmp_path) == []


@pytest.mark.ravdess
def test_scan_of_the_real_recordings(ravdess_dir):
    found = ravdess.scan(ravdess_dir)
    assert len(found.clips) == ravdess.CLIPS
    assert found.notice is None
    counts = [sum(clip.emotion == emotion for clip in found.clips) for emotion in range(8)]
    assert counts == [96] + [192] * 7
