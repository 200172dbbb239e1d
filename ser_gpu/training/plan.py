"""The plan of a training: everything that decides what comes out of it; `config.json` in its folder holds it."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ser_gpu.config import ModelConfig
from ser_gpu.corpora.splits import Protocol
from ser_gpu.errors import InputError
from ser_gpu.files import write_json
from ser_gpu.training.config import TrainConfig, completed

FILE = "config.json"
_LATER = {"corpora": None, "init": None, "init_sha256": None}
_LATER |= {"init_corpora": (), "test_corpora": (), "temperature": None}


@dataclass(frozen=True)
class Plan:
    """What a training does.

    Attributes:
        training: settings of the training.
        model: settings of the model.
        bfloat16: in the CNN.
        data: folder or CSV of the recordings; None for the default corpus.
        corpus: to read them as; None where that is found out.
        test_speakers: for the protocol `test-speakers`.
        refit: the folder of the training that this one repeats with its validation part; None where it repeats none.
        test: score the test part at the end.
        corpora: several corpora instead of `data`: name and folder of each, None where a variable names it.
        init: checkpoint with the first weights; None where they are drawn.
        init_sha256: of that file.
        init_corpora: on which those weights were trained.
        test_corpora: for the protocol `test-corpora`.
        temperature: of the probabilities; None where it is fitted on the validation part.
    """

    training: TrainConfig
    model: ModelConfig
    bfloat16: bool
    data: str | None = None
    corpus: str | None = None
    test_speakers: tuple[str, ...] = ()
    refit: str | None = None
    test: bool = True
    corpora: dict[str, str | None] | None = None
    init: str | None = None
    init_sha256: str | None = None
    init_corpora: tuple[str, ...] = ()
    test_corpora: tuple[str, ...] = ()
    temperature: float | None = None

    @property
    def protocol(self) -> Protocol:
        """Who is in which part."""
        return Protocol(self.training.protocol, self.training.fold, self.test_speakers, test_corpora=self.test_corpora)

    def write(self, folder: Path) -> None:
        """Write the plan into the folder of its training."""
        write_json(folder / FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Plan | None":
        """The plan of the training in a folder; None where there is none.

        Raises:
            ValueError: the file is damaged, or another version of the package wrote it.
        """
        try:
            stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
            stored = _LATER | stored
            if stored.keys() != {field.name for field in fields(cls)}:
                raise InputError("other keys")
            training = TrainConfig(**completed(stored.pop("training")))
            model = ModelConfig.from_dict(stored.pop("model"))
            lists = {key: tuple(stored[key]) for key in ("test_speakers", "test_corpora", "init_corpora")}
            return cls(training, model, **stored | lists)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError):
            raise InputError(
                f"{folder / FILE}: damaged, or of another version; name another folder with --out"
            ) from None
