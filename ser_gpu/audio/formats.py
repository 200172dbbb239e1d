"""What a file is, found from its first bytes; which program reads it; and which suffixes such files have."""

import re
from typing import Literal, NamedTuple

HEAD_BYTES = 512


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


_PHONES = "aac ac3 amr ape awb dsf dts eac3 m4a m4b m4r mka ra spx tta weba wma wv"  # and browsers
_CAMERAS = "3g2 3gp 3gpp asf avi flv m4v mkv mov mp4 mpeg mpg ogv rm webm wmv"
# of the formats of `soundfile.available_formats` whose header has the rate
_LIBSNDFILE = "8svx aif aifc aiff au avr bwf caf fap flac htk iff ircam mpc nist paf pvf rf64 sd2 sds sf snd sph svx"
VIDEO_SUFFIXES = _suffixes(_CAMERAS)
LOSSY_SUFFIXES = VIDEO_SUFFIXES | _suffixes(f"{_PHONES} mp1 mp2 mp3 oga ogg opus")
FFMPEG_SUFFIXES = VIDEO_SUFFIXES | _suffixes(_PHONES)
SUFFIXES = LOSSY_SUFFIXES | _suffixes(f"{_LIBSNDFILE} voc w64 wav wave wve xi")
# what neither program can read, and why
_UNREADABLE = {"no header tells its rate": "g722 gsm pcm raw sln vox", "notes, not sound": "mid midi"}
_UNREADABLE |= {"a playlist": "m3u m3u8 pls", "a Matlab file": "mat"}
UNREADABLE_SUFFIXES = {suffix: why for why, names in _UNREADABLE.items() for suffix in sorted(_suffixes(names))}

# The demuxers that are allowed: none of them opens a second file or an address, as those of playlists do
DEMUXERS = "3g2,3gp,aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,m4a,matroska,mj2,mov,mp3,mp4,mpc,mpc8,"
DEMUXERS += "mpeg,mpegts,nistsphere,ogg,rm,tta,w64,wav,webm,wv"


class Kind(NamedTuple):
    """What a file is: its name, as messages say it after "is", and its reader, None where there is no sound."""

    name: str
    reader: Literal["libsndfile", "ffmpeg"] | None = None


# Patterns of the first bytes, and what the file is; the first match counts. Files of the last group hold no sound
_STARTS = {
    "ffmpeg": r"""
        RIF[FX]....AVI\x20 an AVI video | OggS.{0,52}Speex\x20\x20\x20 Ogg Speex | \xff[\xf0\xf1\xf8\xf9] AAC
        | ....ftyp3g[p2] 3GP, a phone's recording | ....ftypqt\x20\x20 QuickTime | ....ftyp MP4 (m4a, mp4: mostly AAC)
        | #!AMR AMR | \x1a\x45\xdf\xa3 WebM or Matroska | \x30\x26\xb2\x75\x8e\x66\xcf\x11 Windows Media (wma, asf)
        | wvpk WavPack | MAC\x20 Monkey's Audio | TTA1 True Audio | MPCK Musepack | MP\+ Musepack | DSD\x20 DSF
        | FLV\x01 Flash video | \.RMF RealMedia | \.ra\xfd RealAudio | \x0b\x77 AC-3 | \x7f\xfe\x80\x01 DTS
        | \x00\x00\x01\xba an MPEG video | G.{187}G.{187}G an MPEG transport stream""",
    "libsndfile": r"""
        RIF[FX]....WAVE a WAV file | FORM....AIFF an AIFF file | FORM....AIFC an AIFF-C file | FORM....8SVX an SVX file
        | OggS an Ogg file | \xff[\xe0-\xff] an MP3 file | ID3 an MP3 file | fLaC a FLAC file | caff a CAF file
        | \.snd an AU file | RF64 an RF64 file | BW64 a BW64 file | riff\x2e\x91\xcf\x11 a W64 file
        | NIST_1A a NIST SPHERE file""",
    None: r"""
        PK\x03\x04 a zip archive | PK\x05\x06 a zip archive | \x1f\x8b gzip-compressed | BZh bzip2-compressed
        | \xfd7zXZ xz-compressed | \x28\xb5\x2f\xfd zstd-compressed | 7z\xbc\xaf a 7z archive | Rar! a rar archive
        | \x93NUMPY a NumPy array (load it and give the array) | \#EXTM3U a playlist
        | \x89PNG a PNG picture | \xff\xd8\xff a JPEG picture | %PDF a PDF document
        | version\x20https://git-lfs a Git LFS pointer (git lfs pull fetches the file)""",
}
_KINDS = [
    (re.compile(start.encode(), re.DOTALL), Kind(name, reader))
    for reader, starts in _STARTS.items()
    for start, _, name in (each.strip().partition(" ") for each in starts.split("|"))
]

# the beginnings of three frames of MP3 (layer III) or AAC
_FRAMES = re.compile(rb"(\xff[\xe2\xe3\xf0-\xf3\xf8-\xfb])[\x10-\xef](?:.{21,1438}?\1[\x10-\xef]){2}", re.DOTALL)


def kind_of(head: bytes) -> Kind | None:
    """The kind of a file with these first bytes; None where it is unknown.

    >>> kind_of(b"fLaC")
    Kind(name='a FLAC file', reader='libsndfile')
    """
    if head[:3] == b"ID3":
        size = sum(byte % 128 << 7 * place for place, byte in enumerate(reversed(head[6:10])))  # seven bits per byte
        if tagged := kind_of(head[10 + size :]):
            return tagged
    return next((kind for start, kind in _KINDS if start.match(head)), None) or _text(head)


def is_file(head: bytes) -> bool:
    """Whether these begin a file of any kind, and not raw samples, which may begin with a few bytes like those of one.

    >>> is_file(b"fLaC"), is_file(b"\\xff\\xfb\\x90\\x64")
    (True, False)
    """
    kind = kind_of(head)
    if kind is None or not any(head) or head[0] == 0xFF:
        return _FRAMES.match(head) is not None
    return kind.name not in ("AC-3", "gzip-compressed")


def _text(head: bytes) -> Kind | None:
    if not any(head):
        return Kind("nothing but zeros") if head else None
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # the last letter may be cut
            return None
        text = head[: error.start].decode()
    if not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    return Kind("a web page (HTML)" if text.lstrip().lower().startswith(("<!doctype html", "<html")) else "text")
