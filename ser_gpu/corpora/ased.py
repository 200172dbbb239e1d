"""ASED: about 2,470 clips of 65 Amharic speakers, five emotions.

`n1-01-01-01-03`: emotion letter and its number, sentence, repetition, gender, speaker. Sentences 1 to 5 differ by
emotion, 6 and 7 are the same in all. Five names contradict their speaker's gender; here it is the speaker's.
"""

import re
from pathlib import Path

from ser_gpu.corpora.clip import Clip, canonical
from ser_gpu.corpora.corpus import Corpus, name_fields

ALIASES = {"n": "neutral", "f": "fearful", "h": "happy", "s": "sad", "a": "angry"}
_WOMEN = "01 03 05 07 09 11 13 15 17 19 21 23 25 27 29 31 33 35 37 43 47 48 49 58 62"
WOMEN = frozenset(_WOMEN.split())
_LAST_OWN_SENTENCE = 5
_NAME = re.compile(
    r"(?P<emotion>n(?=1)|f(?=2)|h(?=3)|s(?=4)|a(?=5))[1-5]"
    r"-(?P<sentence>\d\d)-(?P<repetition>\d\d)-0[12]-(?P<speaker>\d\d)"
)


def parse(path: str | Path) -> Clip:
    """Read an official name.

    >>> clip = parse("n1-01-01-01-03.wav")
    >>> clip.emotion, clip.speaker, clip.gender, clip.get("sentence")
    ('neutral', '03', 'female', 'n01')
    """
    name = name_fields(_NAME, path, "ASED", CORPUS.example)
    emotion, sentence, speaker = name["emotion"], name["sentence"], name["speaker"]
    if int(sentence) <= _LAST_OWN_SENTENCE:
        sentence = emotion + sentence
    return Clip(
        id=Path(path).stem,
        path=Path(path),
        emotion=canonical(emotion, ALIASES),
        speaker=speaker,
        corpus="ased",
        gender="female" if speaker in WOMEN else "male",
        group=f"{speaker}-{emotion}-{sentence}",
        extra=(("sentence", sentence), ("repetition", str(int(name["repetition"])))),
    )


CORPUS = Corpus(
    name="ased",
    title="ASED",
    language="Amharic",
    licence="research corpus, no licence stated",
    citation="Retta et al. (2022), A new Amharic speech emotion dataset and classification benchmark, ACM TALLIP 22(1)",
    example="n1-01-01-01-03.wav",
    parse=parse,
)
