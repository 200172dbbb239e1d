"""TESS: 2,800 clips of 2 English women, seven emotions. `OAF_back_angry`: speaker, word, emotion."""

import re
from pathlib import Path

from ser_gpu.corpora.clip import Clip, canonical
from ser_gpu.corpora.corpus import Corpus, name_fields

_NAME = re.compile(
    r"(?P<speaker>OAF?|YAF)_(?P<word>[a-z]+)"
    r"_(?P<emotion>angry|disgust|fear|happy|neutral|ps|pleasant_surprised?|sad)",
    re.IGNORECASE,
)


def parse(path: str | Path) -> Clip:
    """Read an official name. One file of the official archive is called OA_bite_neutral; its speaker is OAF.

    >>> parse("OAF_Pleasant_surprise/OAF_back_ps.wav").emotion
    'surprised'
    """
    name = name_fields(_NAME, path, "TESS", CORPUS.example)
    speaker = "YAF" if name["speaker"].upper() == "YAF" else "OAF"
    return Clip(
        id=f"{speaker}_{name['word']}_{name['emotion']}",
        path=Path(path),
        emotion=canonical(name["emotion"]),
        speaker=speaker,
        corpus="tess",
        gender="female",
        extra=(("sentence", name["word"]),),
    )


CORPUS = Corpus(
    name="tess",
    title="TESS",
    language="English",
    licence="CC BY-NC-ND 4.0",
    citation="Pichora-Fuller and Dupuis (2020), Toronto emotional speech set (TESS), Borealis, doi:10.5683/SP2/E8H2MF",
    example="OAF_back_angry.wav",
    parse=parse,
    clips=2_800,
)
