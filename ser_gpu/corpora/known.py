"""The corpora that are known by their official file names; a new corpus is one more entry."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ser_gpu.audio.formats import VIDEO_SUFFIXES
from ser_gpu.corpora import ravdess
from ser_gpu.corpora.clip import EMOTIONS, OWN, Clip, canonical, gender
from ser_gpu.errors import InputError

FOREIGN = "foreign"


@dataclass(frozen=True)
class Corpus:
    """A corpus: the pattern of its official file names, and what the names do not say."""

    title: str  # as a user reads it
    licence: str  # of the recordings
    example: str  # an official file name
    # of names without suffix; groups: speaker, emotion; optional: gender, intensity, sentence, statement, repetition,
    # and video or song for what is no clip
    pattern: str
    emotions: Mapping[str, str] = field(default_factory=dict)  # lower case -> emotion, where it is no general alias
    intensities: Mapping[str, str] = field(default_factory=dict)
    women: str | None = None  # speakers, separated by spaces; None where they are not published
    men: str | None = None  # the same; None where all others are men
    read: Callable[[dict[str, str]], dict[str, str] | None] = lambda found: found  # changes groups; None: foreign name
    id: str | None = None  # of a clip, from groups; None: the file name
    group: str | None = None  # of repetitions of one utterance, from groups
    clips: int | None = None  # of a complete copy; None where copies differ
    folder: str | None = None  # under `SER_CORPORA_DIR`; None: the title
    # protocol -> (test, validation) speakers of each fold; without validation, `splits` chooses them
    folds: Mapping[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = field(default_factory=dict)
    variable: str | None = None  # the environment variable that names its folder
    download: Callable[..., Path] | None = None  # takes a folder to fill, and `progress`

    @property
    def name(self) -> str:
        """In the registry: that of its folder in lower case, with _ for spaces and hyphens."""
        return re.sub(r"\W", "_", (self.folder or self.title).lower())

    def owns(self, path: str | Path) -> bool:
        """True for a name of this corpus, of a clip or not."""
        return self.parse(path) != FOREIGN

    def parse(self, path: str | Path) -> Clip | str:
        """The clip of an official path, or why it is none: "video", "song", or `FOREIGN` for any other name."""
        path = Path(path)
        match = re.fullmatch(self.pattern, path.stem)
        found = match and self.read(match.groupdict() | {"folder": path.parent.name})
        if not found:
            return FOREIGN
        if path.suffix.lower() in VIDEO_SUFFIXES:
            return "video"
        if reason := next(filter(found.get, ("video", "song")), None):
            return reason
        speaker = found["speaker"]
        if self.women is not None:
            man = self.men is None or speaker in self.men.split()
            found["gender"] = "female" if speaker in self.women.split() else "male" if man else ""
        extra = {key: found.get(key) for key in ("intensity", "sentence", "statement", "repetition")}
        extra["intensity"] = self.intensities.get(extra["intensity"], extra["intensity"])
        id, emotion = self.id.format(**found) if self.id else path.stem, canonical(found["emotion"], self.emotions)
        group = self.group and self.group.format(**found)
        known = tuple((key, value) for key, value in extra.items() if value)
        return Clip(id, path, emotion, speaker, self.name, gender(found.get("gender", "")), group, extra=known)


def _savee(found: dict[str, str]) -> dict[str, str] | None:
    speaker = found["speaker"] or found["folder"]
    if speaker not in ("DC", "JE", "JK", "KL"):
        return None
    return found | {"speaker": speaker, "sentence": found["emotion"] + found["number"]}


def _ased(found: dict[str, str]) -> dict[str, str]:
    own = found["emotion"] if int(found["sentence"]) <= 5 else ""  # sentences 6 and 7 are the same for all emotions
    return found | {"sentence": own + found["sentence"], "repetition": str(int(found["repetition"]))}


def _kes(found: dict[str, str]) -> dict[str, str]:
    emotion, sentence = divmod(int(found["number"]) - 1, 100)
    alike = found["speaker"].startswith("em")  # all four emotions have the same sentences
    text = f"p{sentence + 1}" if alike else found["number"]
    return found | {"emotion": ("neutral", "happy", "angry", "sad")[emotion], "sentence": text}


_ENTRIES = (  # the first is the default
    Corpus(
        title="RAVDESS speech",
        licence="CC BY-NC-SA 4.0",
        example="03-01-06-01-02-01-12.wav",
        pattern=ravdess.PATTERN,
        emotions={f"{number:02}": emotion for number, emotion in enumerate(EMOTIONS, start=1)},
        intensities={"01": "normal", "02": "strong"},
        women=" ".join(ravdess.ACTORS[1::2]),
        group="{speaker}-{emotion}-{intensity}-0{statement}",
        clips=1_440,
        folder="RAVDESS",
        folds=ravdess.FOLDS,
        variable="RAVDESS_DIR",
        download=ravdess.download,
    ),
    Corpus(
        title="CREMA-D",
        licence="Open Database License",
        example="1001_IEO_ANG_HI.wav",
        pattern=r"(?P<speaker>1\d{3})_(?P<sentence>IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI)"
        r"_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_((?P<intensity>LO|MD|HI)|XX?)",
        intensities={"LO": "low", "MD": "medium", "HI": "high"},
        women="1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 1030 1037 1043 "
        "1046 1047 1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 1074 1075 1076 1078 1079 1082 1084 "
        "1089 1091",
        clips=7_442,
    ),
    Corpus(
        title="EMO-DB",
        licence="free for research",
        example="03a01Fa.wav",
        pattern=r"(?P<speaker>03|08|09|1[0-6])(?P<sentence>[ab]\d\d)(?P<emotion>[WLEAFTN])(?P<version>[a-z]?)",
        emotions={"w": "angry", "l": "bored", "e": "disgust", "a": "fearful", "f": "happy", "t": "sad", "n": "neutral"},
        women="08 09 13 14 16",
        group="{speaker}-{sentence}-{emotion}",
        clips=535,
    ),
    Corpus(
        title="EMOVO",
        licence="free for research",
        example="dis-f1-b1.wav",
        pattern=r"(?P<emotion>dis|gio|pau|rab|sor|tri|neu)-(?P<speaker>(?P<gender>[mf])[1-3])-(?P<sentence>[bln]\d|d\d)",
        emotions={"gio": "happy", "pau": "fearful", "rab": "angry", "sor": "surprised", "tri": "sad"},
        clips=588,
    ),
    Corpus(
        title="TESS",
        licence="CC BY-NC-ND 4.0",
        example="OAF_back_angry.wav",
        pattern=r"(?i)(?P<speaker>OAF?|YAF)_(?P<sentence>[a-z]+)"
        r"_(?P<emotion>angry|disgust|fear|happy|neutral|ps|pleasant_surprised?|sad)",
        women="OAF YAF",
        # one file is called OA_bite
        read=lambda found: found | {"speaker": "YAF" if found["speaker"].upper() == "YAF" else "OAF"},
        id="{speaker}_{sentence}_{emotion}",
        clips=2_800,
    ),
    Corpus(
        title="SAVEE",
        licence="research only, on registration",
        example="DC_a01.wav",
        pattern=r"((?P<speaker>DC|JE|JK|KL)_)?(?P<emotion>sa|su|[adfhn])(?P<number>\d\d)",  # or the speaker's folder
        emotions={"a": "angry", "d": "disgust", "f": "fearful", "sa": "sad", "su": "surprised"},
        women="",
        read=_savee,
        id="{speaker}_{sentence}",
        clips=480,
    ),
    Corpus(
        title="nEMO",
        licence="CC BY-NC-SA 4.0",
        example="EB0_anger_1.wav",
        pattern=r"(?P<speaker>EB0|IC0|KD0|MK0|KS0|MP0|SM0|TP0|WR0)"
        r"_(?P<emotion>anger|fear|happiness|neutral|sadness|surprised)_(?P<sentence>\d+)",
        women="EB0 IC0 KD0 MK0",
        clips=4_481,
    ),
    Corpus(
        title="ASED",
        licence="research corpus, no licence stated",
        example="n1-01-01-01-03.wav",
        pattern=r"(?P<emotion>n(?=1)|f(?=2)|h(?=3)|s(?=4)|a(?=5))[1-5]"
        r"-(?P<sentence>\d\d)-(?P<repetition>\d\d)-0[12]-(?P<speaker>\d\d)",
        emotions={"n": "neutral", "f": "fearful", "h": "happy", "s": "sad", "a": "angry"},
        # five file names contradict the gender of their speaker, so it is listed here
        women="01 03 05 07 09 11 13 15 17 19 21 23 25 27 29 31 33 35 37 43 47 48 49 58 62",
        read=_ased,
        group="{speaker}-{emotion}-{sentence}",
    ),
    Corpus(
        title="TurEV",
        licence="CC BY-NC-ND 4.0",
        example="1157_kz_acik.wav",
        pattern=r"(?P<speaker>\d{4})_(?P<emotion>kz|hl|sk|mt)_(?P<sentence>(?P<word>[a-z]+)\d?)",
        emotions={"kz": "angry", "hl": "sad", "sk": "calm", "mt": "happy"},
        group="{speaker}-{emotion}-{word}",
        clips=1_735,
    ),
    Corpus(  # talk shows, not acted
        title="URDU",
        licence="research only",
        example="SM1_F10_A010.wav",
        pattern=r"((angry|happy|neutral|sad)_)?(?P<speaker>S(?P<gender>[MF])\d+)_F\d+_(?P<emotion>[AHNS])\d+",
        emotions={"a": "angry", "h": "happy", "n": "neutral", "s": "sad"},
        clips=400,
    ),
    Corpus(  # numbers 1 to 100 are neutral, to 200 happy, to 300 angry, to 400 sad
        title="KES",
        licence="CC BY-NC-SA 4.0, research only",
        example="nea00001.wav",
        pattern=r"(?P<speaker>(ne|em)[a-z])(?P<number>00(?!000)[0-3]\d\d|00400)",
        women="ema emb nea neb nec ned nee",
        men="emf emg emh nek nel nem nen neo",
        read=_kes,
    ),
)
CORPORA = {corpus.name: corpus for corpus in _ENTRIES}


def names() -> tuple[str, ...]:
    """The registered corpora; the first is the default."""
    return tuple(CORPORA)


def registered_name(name: str) -> str | None:
    """The registry's spelling of a corpus' name, or None."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    return next((known for known in CORPORA if known.replace("_", "") == letters), None)


def usual_name(name: str) -> str:
    """The usual spelling of a registered corpus' name, such as nEMO for nemo; another name as it is."""
    registered = registered_name(name)
    return CORPORA[registered].title.removesuffix(" speech") if registered else name


def get(name: str) -> Corpus:
    """The corpus of that name, however it is spelt. Raises InputError where it is not registered."""
    if (registered := registered_name(name)) is None:
        raise InputError(f"no such corpus: {name!r}; known are {', '.join(names())}, and {OWN} for your own recordings")
    return CORPORA[registered]


def licence_of(names: Iterable[str], of_weights: str | None = None) -> str | None:
    """The licences of the known corpora that weights were trained on, and of weights that they began with; or None."""
    known = [CORPORA[name] for name in map(registered_name, names) if name]
    found = [each.licence for each in known] if len(known) == 1 else [f"{each.title}: {each.licence}" for each in known]
    inherited = [each for each in (of_weights or "").split("; ") if each and not any(each in own for own in found)]
    return "; ".join([*found, *inherited]) or None
