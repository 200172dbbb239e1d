"""A folder in the format of the Hugging Face Hub, written and read offline; the user uploads it."""

from pathlib import Path

from ser_gpu import __version__, checkpoint
from ser_gpu.errors import extra
from ser_gpu.exports.onnx import trained_on
from ser_gpu.files import replacing
from ser_gpu.model import SpeechEmotionModel

huggingface_hub, safetensors = extra("huggingface_hub", "export"), extra("safetensors", "export")

LICENCES = {"CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0", "CC BY 4.0": "cc-by-4.0", "MIT": "mit"}  # -> the Hub's names
_OLDEST = 2  # the format version of a folder that states none


class HubModel(SpeechEmotionModel, huggingface_hub.PyTorchModelHubMixin, library_name="ser_gpu"):
    """The model with `from_pretrained` and `save_pretrained`; older folders are migrated as checkpoints are."""

    def __init__(self, model: SpeechEmotionModel, about: dict):
        power = model.mel.mel_power
        kernels = (power.window, power.mel_basis) if model.mel.backend == "fft" else None
        super().__init__(model.config, model.labels, kernels)
        self.load_state_dict(model.state_dict())
        self._hub_mixin_config = about

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, config: dict | None = None, map_location: str = "cpu", strict: bool = True, **where
    ) -> "HubModel":
        name = "model.safetensors"
        path = Path(model_id, name)
        if not Path(model_id).is_dir():
            path = Path(huggingface_hub.hf_hub_download(model_id, name, **where))
        try:
            with safetensors.safe_open(path, "pt") as file:
                weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, it is no dictionary
            version = config.get("format_version", _OLDEST)
            stored = {name: config[name] for name in ("config", "labels")}
            content = checkpoint.migrated(stored | {"format_version": version, "state_dict": weights, "provenance": {}})
            model = checkpoint.rebuilt(content["config"], content["labels"], content["state_dict"])
        except Exception as error:  # of safetensors, or of a wrong configuration or weights
            problem = " ".join(str(error).split())[:200]
            raise checkpoint.CheckpointError(f"{model_id}: not a folder of ser_gpu: {problem}") from None
        return cls(model, config).to(map_location).eval()


def write(
    folder: str | Path,
    model: SpeechEmotionModel,
    provenance: checkpoint.Provenance,
    licence: str | None = None,
    sha256: str | None = None,
) -> None:
    """Write the folder; the licence is that of the weights, the SHA-256 that of their checkpoint."""
    about = {"format_version": checkpoint.FORMAT_VERSION, "model_type": "ser_gpu", "library_name": "ser_gpu"}
    about |= {"package_version": __version__, "labels": list(model.labels)}
    about |= {"config": model.config.as_dict(), "checkpoint_sha256": sha256}
    page = Path(folder) / "README.md"
    with replacing(page) as temporary:  # the mixin writes no card where there is one
        temporary.write_text(card(model, provenance, licence), encoding="utf-8")
    HubModel(model, about).save_pretrained(folder)
    (Path(folder) / "model.safetensors").chmod(page.stat().st_mode)  # safetensors lets its owner alone read it


def card(model: SpeechEmotionModel, provenance: checkpoint.Provenance, licence: str | None = None) -> str:
    """The model card: metadata in YAML, then a description, the use, and the limits."""
    name = LICENCES.get(licence or "", "other")
    datasets = trained_on(provenance)
    about = {"library_name": "ser_gpu", "pipeline_tag": "audio-classification", "datasets": datasets or None}
    about |= {"license": name, "license_name": (licence or "not stated") if name == "other" else None}
    about |= {"tags": ["speech-emotion-recognition", "audio", "pytorch"], "metrics": ["accuracy", "recall", "f1"]}
    metadata = huggingface_hub.ModelCardData(**about)
    labels, copies = ", ".join(model.labels), model.tta.copies
    uses = f"Test-time augmentation averages {copies} answers a clip." if model.config.tta.enabled else ""
    return f"""---
{metadata.to_yaml()}
---

# Speech emotion recognition with ser_gpu

The model names one of {len(model.labels)} emotions ({labels}) from a voice. The input is the raw waveform at
{model.sample_rate:,} Hz. Silence trimming, a window of {model.config.audio.clip_seconds:g} s and the log-mel
spectrogram are part of the model. {uses}

```python
from ser_gpu.exports.hub import HubModel

model = HubModel.from_pretrained("path/to/this/folder")
print(model.predict("clip.wav"))
```

## Training

Protocol `{provenance.protocol.get("name")}`, fold {provenance.protocol.get("fold")}, seed {provenance.seed}; manifest
`{provenance.manifest_hash[:16]}`; ser_gpu {provenance.package_version}.
Recordings: {", ".join(datasets) or "not stated"}.
Licence of the weights: {licence or "not stated"}.

## Responsible use

The model names how a voice sounds, as actors express an emotion, not what a person feels: do not decide about people
with it. The EU forbids it at work and in education ([AI Act](https://eur-lex.europa.eu/eli/reg/2024/1689/oj), Article
5(1)(f)). In other languages and rooms it is worse. More: `docs/responsible-use.md` of ser_gpu.
"""
