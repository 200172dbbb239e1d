"""TurEV-DB: 1,735 clips of 6 Turkish speakers, single words, four emotions. `1157_kz_acik`: speaker, emotion, word."""

import re
from pathlib import Path

from ser_gpu.corpora.clip import Clip, canonical
from ser_gpu.corpora.corpus import Corpus, name_fields

ALIASES = {"kz": "angry", "hl": "sad", "sk": "calm", "mt": "happy"}
_NAME = re.compile(rf"(?P<speaker>\d{{4}})_(?P<emotion>{'|'.join(ALIASES)})_(?P<sentence>(?P<word>[a-z]+)\d?)")


def parse(path: str | Path) -> Clip:
    """Read an official name; who is a woman and who a man is not published.

    >>> parse("Angry/1157_kz_acik.wav").emotion
    'angry'
    """
    name = name_fields(_NAME, path, "TurEV", CORPUS.example)
    return Clip(
        id=Path(path).stem,
        path=Path(path),
        emotion=canonical(name["emotion"], ALIASES),
        speaker=name["speaker"],
        corpus="turev",
        group=f"{name['speaker']}-{name['emotion']}-{name['word']}",
        extra=(("sentence", name["sentence"]),),
    )


CORPUS = Corpus(
    name="turev",
    title="TurEV",
    language="Turkish",
    licence="CC BY-NC-ND 4.0",
    citation="Canpolat, Ormanoglu and Zeyrek (2020), Turkish emotion voice database (TurEV-DB), SLTU-CCURL",
    example="1157_kz_acik.wav",
    parse=parse,
    clips=1_735,
)
