"""EMOVO: 588 clips of 6 Italian speakers, seven emotions. `dis-f1-b1`: emotion, speaker, sentence."""

import re
from pathlib import Path

from ser_gpu.corpora.clip import Clip, canonical, gender
from ser_gpu.corpora.corpus import Corpus, name_fields

ALIASES = {  # disgusto, gioia, paura, rabbia, sorpresa, tristezza, neutro
    "dis": "disgust",
    "gio": "happy",
    "pau": "fearful",
    "rab": "angry",
    "sor": "surprised",
    "tri": "sad",
    "neu": "neutral",
}
_NAME = re.compile(rf"(?P<emotion>{'|'.join(ALIASES)})-(?P<speaker>[mf][1-3])-(?P<sentence>[bln]\d|d\d)")


def parse(path: str | Path) -> Clip:
    """Read an official name.

    >>> parse("EMOVO/f1/gio-f1-b1.wav").emotion
    'happy'
    """
    name = name_fields(_NAME, path, "EMOVO", CORPUS.example)
    return Clip(
        id=Path(path).stem,
        path=Path(path),
        emotion=canonical(name["emotion"], ALIASES),
        speaker=name["speaker"],
        corpus="emovo",
        gender=gender(name["speaker"][0]),
        extra=(("sentence", name["sentence"]),),
    )


CORPUS = Corpus(
    name="emovo",
    title="EMOVO",
    language="Italian",
    licence="free for research",
    citation="Costantini et al. (2014), EMOVO corpus: an Italian emotional speech database, LREC",
    example="dis-f1-b1.wav",
    parse=parse,
    clips=588,
)
