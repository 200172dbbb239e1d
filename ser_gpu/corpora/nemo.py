"""nEMO: 4,481 clips of 9 Polish speakers, six emotions. `EB0_anger_1`: speaker, emotion, sentence."""

import re
from pathlib import Path

from ser_gpu.corpora.clip import Clip, canonical
from ser_gpu.corpora.corpus import Corpus, name_fields

GENDERS = {
    **dict.fromkeys(("EB0", "IC0", "KD0", "MK0"), "female"),
    **dict.fromkeys(("KS0", "MP0", "SM0", "TP0", "WR0"), "male"),
}
_NAME = re.compile(
    rf"(?P<speaker>{'|'.join(GENDERS)})_(?P<emotion>anger|fear|happiness|neutral|sadness|surprised)_(?P<sentence>\d+)"
)


def parse(path: str | Path) -> Clip:
    """Read an official name.

    >>> parse("EB0_anger_1.wav").emotion
    'angry'
    """
    name = name_fields(_NAME, path, "nEMO", CORPUS.example)
    return Clip(
        id=Path(path).stem,
        path=Path(path),
        emotion=canonical(name["emotion"]),
        speaker=name["speaker"],
        corpus="nemo",
        gender=GENDERS[name["speaker"]],
        extra=(("sentence", name["sentence"]),),
    )


CORPUS = Corpus(
    name="nemo",
    title="nEMO",
    language="Polish",
    licence="CC BY-NC-SA 4.0",
    citation="Christop (2024), nEMO: dataset of emotional speech in Polish, LREC-COLING",
    example="EB0_anger_1.wav",
    parse=parse,
    clips=4_481,
)
