"""URDU: 400 utterances of 29 speakers in talk shows, not acted, four emotions.

`SM1_F10_A010`, or `angry_SM1_F10_A010`: gender and speaker, the speaker's file, the emotion's letter and number.
"""

import re
from pathlib import Path

from ser_gpu.corpora.clip import Clip, canonical, gender
from ser_gpu.corpora.corpus import Corpus, name_fields

ALIASES = {"a": "angry", "h": "happy", "n": "neutral", "s": "sad"}
_NAME = re.compile(r"((angry|happy|neutral|sad)_)?(?P<speaker>S(?P<gender>[MF])\d+)_F\d+_(?P<emotion>[AHNS])\d+")


def parse(path: str | Path) -> Clip:
    """Read an official name.

    >>> parse("Angry/SM1_F10_A010.wav").speaker
    'SM1'
    """
    name = name_fields(_NAME, path, "URDU", CORPUS.example)
    return Clip(
        id=Path(path).stem,
        path=Path(path),
        emotion=canonical(name["emotion"], ALIASES),
        speaker=name["speaker"],
        corpus="urdu",
        gender=gender(name["gender"]),
    )


CORPUS = Corpus(
    name="urdu",
    title="URDU",
    language="Urdu",
    licence="research only",
    citation="Latif et al. (2018), Cross lingual speech emotion recognition: Urdu vs. Western languages, FIT",
    example="SM1_F10_A010.wav",
    parse=parse,
    clips=400,
)
