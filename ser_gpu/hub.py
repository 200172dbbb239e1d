"""A folder as the Hugging Face Hub has it: model.safetensors, config.json and a README.md with the card's metadata.

It is written and read without a connection; uploading it is the user's.
"""

import json
from pathlib import Path

import torch

from ser_gpu import __version__
from ser_gpu.checkpoint import CheckpointError, Provenance, default_device
from ser_gpu.config import ModelConfig
from ser_gpu.errors import extra
from ser_gpu.files import replacing, write_json
from ser_gpu.model import SpeechEmotionModel

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
LICENCES = {"CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0", "CC BY 4.0": "cc-by-4.0", "MIT": "mit"}  # and the Hub's names
_MEL_KERNELS = ("mel.mel_power.window", "mel.mel_power.mel_basis")


def write(
    folder: str | Path,
    model: SpeechEmotionModel,
    provenance: Provenance,
    licence: str | None = None,
    sha256: str | None = None,
) -> None:
    """Write the folder, made if need be.

    Args:
        licence: of the weights.
        sha256: of the checkpoint that they are from.

    Raises:
        MissingExtraError: the extra `export` is not installed.
        OSError: a file cannot be written.
    """
    safetensors = extra("safetensors.torch", "export")
    folder = Path(folder)
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with replacing(folder / WEIGHTS) as temporary:
        safetensors.save_file(weights, temporary, metadata={"format": "pt"})
    config = {
        "model_type": "ser_gpu",
        "library_name": "ser_gpu",
        "package_version": __version__,
        "labels": list(model.labels),
        "config": model.config.as_dict(),
        "checkpoint_sha256": sha256,
    }
    write_json(folder / CONFIG, config)
    with replacing(folder / CARD) as temporary:
        temporary.write_text(card(model, provenance, licence), encoding="utf-8")


def load(folder: str | Path, device: str | torch.device | None = None) -> SpeechEmotionModel:
    """The model of a folder that `write` wrote, in evaluation mode.

    Raises:
        CheckpointError: a file is missing, or is not what `write` wrote.
        MissingExtraError: the extra `export` is not installed.
    """
    safetensors = extra("safetensors.torch", "export")
    folder = Path(folder)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = safetensors.load_file(folder / WEIGHTS)
        kernels = tuple(weights[name] for name in _MEL_KERNELS) if _MEL_KERNELS[0] in weights else None
        model = SpeechEmotionModel(ModelConfig.from_dict(config["config"]), config["labels"], kernels)
        model.load_state_dict(weights)
    except Exception as error:  # of JSON, of safetensors, of a configuration or weights that do not fit
        raise CheckpointError(f"{folder}: not a folder of ser_gpu: {' '.join(str(error).split())[:200]}") from None
    return model.to(default_device() if device is None else device).eval()


def card(model: SpeechEmotionModel, provenance: Provenance, licence: str | None = None) -> str:
    """The model card: metadata in YAML, then what the model is, how it is used, and what it must not be used for."""
    labels = ", ".join(model.labels)
    copies = model.tta.copies
    uses = f"Test-time augmentation averages {copies} answers a clip." if model.config.tta.enabled else ""
    return f"""---
{front_matter(provenance, licence)}
---

# Speech emotion recognition with ser_gpu

The model names one of {len(model.labels)} emotions ({labels}) from a voice. The input is the raw waveform at
{model.sample_rate:,} Hz. Silence trimming, a window of {model.config.audio.clip_seconds:g} s and the log-mel
spectrogram are part of the model. {uses}

```python
from ser_gpu import hub

model = hub.load("path/to/this/folder")
print(model.predict("clip.wav"))
```

## Training

Protocol `{provenance.protocol.get("name")}`, fold {provenance.protocol.get("fold")}, seed {provenance.seed}; manifest
`{provenance.manifest_hash[:16]}`; ser_gpu {provenance.package_version}.

## Limits

The model learned from acted speech. On voices that are not acted, or in another language, its answers can be much
worse. Do not decide anything about a person with it.
"""


def front_matter(provenance: Provenance, licence: str | None = None) -> str:
    """The card's metadata as YAML, of which JSON values are a part."""
    corpus = provenance.protocol.get("corpus")
    name = LICENCES.get(licence or "", "other")
    metadata = {
        "library_name": "ser_gpu",
        "pipeline_tag": "audio-classification",
        "license": name,
        "license_name": (licence or "not stated") if name == "other" else None,
        "tags": ["speech-emotion-recognition", "audio", "pytorch"],
        "datasets": [corpus] if corpus else None,
        "metrics": ["accuracy", "recall", "f1"],
    }
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in metadata.items() if value is not None)
