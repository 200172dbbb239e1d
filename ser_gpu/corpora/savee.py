"""SAVEE: 480 clips of 4 English men, seven emotions. `DC_a01` or `DC/a01`: speaker, emotion letters, number."""

import re
from pathlib import Path

from ser_gpu.corpora.clip import Clip, canonical
from ser_gpu.corpora.corpus import Corpus, name_fields
from ser_gpu.errors import InputError

SPEAKERS = ("DC", "JE", "JK", "KL")
ALIASES = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}
_NAME = re.compile(rf"((?P<speaker>{'|'.join(SPEAKERS)})_)?(?P<emotion>sa|su|[adfhn])(?P<number>\d\d)")


def parse(path: str | Path) -> Clip:
    """Read an official name; without a speaker in it, the folder is the speaker's.

    >>> parse("ALL/DC_sa01.wav").emotion, parse("AudioData/KL/n30.wav").id
    ('sad', 'KL_n30')
    """
    path = Path(path)
    name = name_fields(_NAME, path, "SAVEE", CORPUS.example)
    speaker = name["speaker"] or path.parent.name
    if speaker not in SPEAKERS:
        raise InputError(f"{path}: not a name of SAVEE, such as {CORPUS.example}")
    sentence = name["emotion"] + name["number"]
    return Clip(
        id=f"{speaker}_{sentence}",
        path=path,
        emotion=canonical(name["emotion"], ALIASES),
        speaker=speaker,
        corpus="savee",
        gender="male",
        extra=(("sentence", sentence),),
    )


CORPUS = Corpus(
    name="savee",
    title="SAVEE",
    language="English",
    licence="research only, on registration",
    citation="Jackson and Haq (2014), Surrey Audio-Visual Expressed Emotion (SAVEE) database, University of Surrey",
    example="DC_a01.wav",
    parse=parse,
    clips=480,
)
