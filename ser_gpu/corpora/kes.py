"""KES, Korean emotional speech of the EmotionTTS open database: four emotions.

`nea00001`: script (`ne` or `em`) and speaker's letter, number. Numbers 1 to 100 are neutral, 101 to 200 happy, 201 to
300 angry, 301 to 400 sad. In `em` the sentences of the four emotions are the same, in `ne` they differ.
"""

import re
from pathlib import Path

from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.corpus import Corpus, name_fields
from ser_gpu.errors import InputError

EMOTIONS = ("neutral", "happy", "angry", "sad")
GENDERS = {
    **dict.fromkeys(("ema", "emb", "nea", "neb", "nec", "ned", "nee"), "female"),
    **dict.fromkeys(("emf", "emg", "emh", "nek", "nel", "nem", "nen", "neo"), "male"),
}
_SENTENCES = 100
_NAME = re.compile(r"(?P<speaker>(ne|em)[a-z])(?P<number>00[0-3]\d\d|00400)")


def parse(path: str | Path) -> Clip:
    """Read an official name.

    >>> parse("nea00101.wav").emotion
    'happy'
    """
    name = name_fields(_NAME, path, "KES", CORPUS.example)
    speaker, number = name["speaker"], name["number"]
    if int(number) == 0:
        raise InputError(f"{path}: not a name of KES, such as {CORPUS.example}")
    emotion, sentence = divmod(int(number) - 1, _SENTENCES)
    return Clip(
        id=Path(path).stem,
        path=Path(path),
        emotion=EMOTIONS[emotion],
        speaker=speaker,
        corpus="kes",
        gender=GENDERS.get(speaker),
        extra=(("sentence", f"p{sentence + 1}" if speaker.startswith("em") else number),),
    )


CORPUS = Corpus(
    name="kes",
    title="KES",
    language="Korean",
    licence="CC BY-NC-SA 4.0, research only",
    citation="EmotionTTS open database: Korean speech of four emotions",
    example="nea00001.wav",
    parse=parse,
)
