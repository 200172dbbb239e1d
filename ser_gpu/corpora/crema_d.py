"""CREMA-D: 7,442 clips of 91 English speakers, six emotions.

`1001_IEO_ANG_HI`: speaker, sentence, emotion, intensity (XX: none). Who is a woman is in the archive's own table.
"""

import re
from pathlib import Path

from ser_gpu.corpora.clip import Clip, canonical
from ser_gpu.corpora.corpus import Corpus, name_fields

_WOMEN = (
    "1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 1030 1037 1043 1046 1047 "
    "1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 1074 1075 1076 1078 1079 1082 1084 1089 1091"
)
WOMEN = frozenset(_WOMEN.split())
_INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high"}
_NAME = re.compile(
    r"(?P<speaker>1\d{3})_(?P<sentence>IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI)"
    r"_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<intensity>LO|MD|HI|XX?)"
)


def parse(path: str | Path) -> Clip:
    """Read an official name.

    >>> parse("AudioWAV/1001_IEO_ANG_HI.wav").get("intensity")
    'high'
    """
    name = name_fields(_NAME, path, "CREMA-D", CORPUS.example)
    intensity = _INTENSITIES.get(name["intensity"])
    return Clip(
        id=Path(path).stem,
        path=Path(path),
        emotion=canonical(name["emotion"]),
        speaker=name["speaker"],
        corpus="crema_d",
        gender="female" if name["speaker"] in WOMEN else "male",
        extra=(*([("intensity", intensity)] if intensity else []), ("sentence", name["sentence"])),
    )


CORPUS = Corpus(
    name="crema_d",
    title="CREMA-D",
    language="English",
    licence="Open Database License",
    citation="Cao et al. (2014), IEEE Transactions on Affective Computing 5(4): 377-390",
    example="1001_IEO_ANG_HI.wav",
    parse=parse,
    clips=7_442,
)
