"""EMO-DB: 535 clips of 10 German speakers, seven emotions. `03a01Fa`: speaker, text, emotion letter, version."""

import re
from pathlib import Path

from ser_gpu.corpora.clip import Clip, canonical
from ser_gpu.corpora.corpus import Corpus, name_fields

WOMEN = ("08", "09", "13", "14", "16")
ALIASES = {  # first letters of Wut, Langeweile, Ekel, Angst, Freude, Trauer
    "w": "angry",
    "l": "bored",
    "e": "disgust",
    "a": "fearful",
    "f": "happy",
    "t": "sad",
    "n": "neutral",
}
_NAME = re.compile(r"(?P<speaker>03|08|09|1[0-6])(?P<text>[ab]\d\d)(?P<emotion>[WLEAFTN])(?P<version>[a-z]?)")


def parse(path: str | Path) -> Clip:
    """Read an official name; versions of one text are repetitions.

    >>> parse("wav/03a01Fa.wav").emotion
    'happy'
    """
    name = name_fields(_NAME, path, "EMO-DB", CORPUS.example)
    return Clip(
        id=Path(path).stem,
        path=Path(path),
        emotion=canonical(name["emotion"], ALIASES),
        speaker=name["speaker"],
        corpus="emo_db",
        gender="female" if name["speaker"] in WOMEN else "male",
        group=f"{name['speaker']}-{name['text']}-{name['emotion']}",
        extra=(("sentence", name["text"]),),
    )


CORPUS = Corpus(
    name="emo_db",
    title="EMO-DB",
    language="German",
    licence="free for research",
    citation="Burkhardt et al. (2005), A database of German emotional speech, Interspeech",
    example="03a01Fa.wav",
    parse=parse,
    clips=535,
)
