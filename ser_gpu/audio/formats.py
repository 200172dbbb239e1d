"""What a file is, told by its first bytes; which program reads it; and which suffixes such files have."""

from dataclasses import dataclass
from typing import Literal

HEAD_BYTES = 512

# libsndfile's formats, as `soundfile.available_formats` names them, and their suffixes; two are left out: RAW has no
# header that tells its rate, and MAT5 is any Matlab file.
LIBSNDFILE_SUFFIXES = {
    "AIFF": (".aif", ".aifc", ".aiff"),
    "AU": (".au", ".snd"),
    "AVR": (".avr",),
    "CAF": (".caf",),
    "FLAC": (".flac",),
    "HTK": (".htk",),
    "IRCAM": (".ircam", ".sf"),
    "MAT4": (),
    "MAT5": (),
    "MP3": (".mp1", ".mp2", ".mp3"),
    "MPC2K": (".mpc",),
    "NIST": (".nist", ".sph"),
    "OGG": (".oga", ".ogg", ".opus"),
    "PAF": (".fap", ".paf"),
    "PVF": (".pvf",),
    "RAW": (),
    "RF64": (".rf64",),
    "SD2": (".sd2",),
    "SDS": (".sds",),
    "SVX": (".8svx", ".iff", ".svx"),
    "VOC": (".voc",),
    "W64": (".w64",),
    "WAV": (".wav", ".wave"),
    "WAVEX": (".bwf",),
    "WVE": (".wve",),
    "XI": (".xi",),
}
# of phones, browsers and cameras
FFMPEG_SUFFIXES = frozenset(
    {
        *(".aac", ".ac3", ".amr", ".ape", ".awb", ".dsf", ".dts", ".eac3", ".m4a", ".m4b", ".m4r", ".mka", ".ra"),
        *(".spx", ".tta", ".weba", ".wma", ".wv"),
        *(".3g2", ".3gp", ".3gpp", ".asf", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv"),
        *(".rm", ".webm", ".wmv"),
    }
)
SUFFIXES = FFMPEG_SUFFIXES.union(*LIBSNDFILE_SUFFIXES.values())
# sound that neither reads by itself, and why
UNREADABLE_SUFFIXES = {
    **dict.fromkeys((".g722", ".gsm", ".pcm", ".raw", ".sln", ".vox"), "no header tells its rate"),
    **dict.fromkeys((".mid", ".midi"), "notes, not sound"),
    **dict.fromkeys((".m3u", ".m3u8", ".pls"), "a playlist"),
    ".mat": "a Matlab file",
}

# The demuxers that may see a file: none of them opens a second file or an address, as those of playlists do.
DEMUXERS = (
    "3g2,3gp,aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,m4a,matroska,mj2,mov,mp3,mp4,mpc,mpc8,mpeg,"
    "mpegts,nistsphere,ogg,rm,tta,w64,wav,webm,wv"
)


@dataclass(frozen=True)
class Kind:
    """What a file is.

    Attributes:
        name: as a message says it, after "is".
        reader: which reads it; None for what holds no sound.
    """

    name: str
    reader: Literal["libsndfile", "ffmpeg"] | None = None


_STARTS = (
    (b"fLaC", Kind("a FLAC file", "libsndfile")),
    (b"caff", Kind("a CAF file", "libsndfile")),
    (b".snd", Kind("an AU file", "libsndfile")),
    (b"RF64", Kind("an RF64 file", "libsndfile")),
    (b"BW64", Kind("a BW64 file", "libsndfile")),
    (b"riff\x2e\x91\xcf\x11", Kind("a W64 file", "libsndfile")),
    (b"NIST_1A", Kind("a NIST SPHERE file", "libsndfile")),
    (b"#!AMR", Kind("AMR", "ffmpeg")),
    (b"\x1a\x45\xdf\xa3", Kind("WebM or Matroska", "ffmpeg")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Kind("Windows Media (wma, asf)", "ffmpeg")),
    (b"wvpk", Kind("WavPack", "ffmpeg")),
    (b"MAC ", Kind("Monkey's Audio", "ffmpeg")),
    (b"TTA1", Kind("True Audio", "ffmpeg")),
    (b"MPCK", Kind("Musepack", "ffmpeg")),
    (b"MP+", Kind("Musepack", "ffmpeg")),
    (b"DSD ", Kind("DSF", "ffmpeg")),
    (b"FLV\x01", Kind("Flash video", "ffmpeg")),
    (b".RMF", Kind("RealMedia", "ffmpeg")),
    (b".ra\xfd", Kind("RealAudio", "ffmpeg")),
    (b"\x0b\x77", Kind("AC-3", "ffmpeg")),
    (b"\x7f\xfe\x80\x01", Kind("DTS", "ffmpeg")),
    (b"\x00\x00\x01\xba", Kind("an MPEG video", "ffmpeg")),
    (b"%PDF", Kind("a PDF document")),
    (b"\x89PNG", Kind("a PNG image")),
    (b"\xff\xd8\xff", Kind("a JPEG image")),
    (b"GIF8", Kind("a GIF image")),
    (b"BM", Kind("a BMP image")),
    (b"II*\x00", Kind("a TIFF image")),
    (b"MM\x00*", Kind("a TIFF image")),
    (b"PK\x03\x04", Kind("a zip archive")),
    (b"PK\x05\x06", Kind("a zip archive")),
    (b"\x1f\x8b", Kind("gzip-compressed")),
    (b"BZh", Kind("bzip2-compressed")),
    (b"\xfd7zXZ", Kind("xz-compressed")),
    (b"\x28\xb5\x2f\xfd", Kind("zstd-compressed")),
    (b"7z\xbc\xaf", Kind("a 7z archive")),
    (b"Rar!", Kind("a rar archive")),
    (b"\x93NUMPY", Kind("a NumPy array (load it and give the array)")),
    (b"\x89HDF", Kind("an HDF5 file")),
    (b"MATLAB", Kind("a Matlab file")),
    (b"SQLite", Kind("an SQLite database")),
    (b"PAR1", Kind("a Parquet table")),
    (b"\x7fELF", Kind("a program")),
    (b"MZ", Kind("a program")),
    (b"\x80\x02", Kind("a pickle")),
    (b"\x80\x04", Kind("a pickle")),
    (b"\xd0\xcf\x11\xe0", Kind("an Office document")),
    (b"MThd", Kind("a MIDI file (notes, not sound)")),
    (b"#EXTM3U", Kind("a playlist")),
    (b"version https://git-lfs", Kind("a Git LFS pointer (git lfs pull fetches the file)")),
)
_RIFF = {
    b"WAVE": Kind("a WAV file", "libsndfile"),
    b"AVI ": Kind("an AVI video", "ffmpeg"),
    b"WEBP": Kind("a WebP image"),
}
_IFF = {
    b"AIFF": Kind("an AIFF file", "libsndfile"),
    b"AIFC": Kind("an AIFF-C file", "libsndfile"),
    b"8SVX": Kind("an SVX file", "libsndfile"),
}
_OGG = Kind("an Ogg file", "libsndfile")
_MPEG = Kind("an MP3 file", "libsndfile")
_AAC = Kind("AAC", "ffmpeg")


def kind_of(head: bytes) -> Kind | None:
    """What a file is whose first bytes these are; None where nothing is known.

    Example:
        >>> kind_of(b"%PDF-1.7")
        Kind(name='a PDF document', reader=None)
    """
    mark = head[8:12]
    if head[:4] in (b"RIFF", b"RIFX", b"FORM"):
        return (_IFF if head[:4] == b"FORM" else _RIFF).get(mark)
    if head[4:8] == b"ftyp":
        return _of_brand(mark)
    if head[:4] == b"OggS":
        return Kind("Ogg Speex", "ffmpeg") if b"Speex   " in head[:64] else _OGG
    if head[:3] == b"ID3":
        return kind_of(_behind_id3(head)) or _MPEG
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # an MPEG frame; layer 0 is AAC
        return _AAC if head[1] & 0xF6 == 0xF0 else _MPEG
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return Kind("an MPEG transport stream", "ffmpeg")
    return next((kind for start, kind in _STARTS if head.startswith(start)), None) or _text(head)


def _of_brand(brand: bytes) -> Kind:
    if brand in (b"avif", b"heic", b"heix", b"mif1", b"msf1"):
        return Kind("a HEIF image")
    if brand.startswith((b"3gp", b"3g2")):
        return Kind("3GP, a phone's recording", "ffmpeg")
    return Kind("QuickTime" if brand == b"qt  " else "MP4 (m4a, mp4: mostly AAC)", "ffmpeg")


def _behind_id3(head: bytes) -> bytes:
    """What follows the tag, as far as `head` reaches; its size has seven bits a byte."""
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return head[10 + size :]


def _text(head: bytes) -> Kind | None:
    if not head:
        return None
    if not any(head):
        return Kind("nothing but zeros")
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # the last letter may be cut
            return None
        text = head[: error.start].decode()
    if not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    start = text.lstrip().lower()
    if start.startswith(("<!doctype html", "<html")):
        return Kind("a web page (HTML)")
    return Kind("text")
