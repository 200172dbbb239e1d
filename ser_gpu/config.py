"""What a model and a training are made of: frozen dataclasses of plain scalars, checked when they are built."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace

HEADS = ("gap", "statistics", "attention", "flatten")
PICTURES = ("wide", "narrow", "short")
WARPS = ("waveform", "spectrogram")
OPTIMIZERS = ("adamw", "muon")
EPOCHS_FOR_NEW_VOICES = 60
_NARROW_HERTZ = 1_500.0


def _require(holds: bool, owner: object, name: str, rule: str) -> None:
    if not holds:
        raise ValueError(f"{type(owner).__name__}.{name} must be {rule}, got {getattr(owner, name)!r}")


def _require_at_most(owner: object, **limits: float) -> None:
    """Far beyond any use: a configuration that comes with a file must not ask for all the memory there is."""
    for name, limit in limits.items():
        _require(getattr(owner, name) <= limit, owner, name, f"at most {limit:,}")


def _require_probabilities(owner: object, *names: str) -> None:
    for name in names:
        _require(0.0 <= getattr(owner, name) <= 1.0, owner, name, "between 0 and 1")


def _require_positive(owner: object, *names: str) -> None:
    for name in names:
        _require(getattr(owner, name) > 0, owner, name, "positive")


def _require_not_negative(owner: object, *names: str) -> None:
    for name in names:
        _require(getattr(owner, name) >= 0, owner, name, "zero or more")


def _require_names(what: str, stored: object, names: Iterable[str]) -> None:
    found = set(stored) if isinstance(stored, dict) else set()
    if found != set(names):
        differing = ", ".join(sorted(map(str, found ^ set(names))))
        raise ValueError(f"configuration does not fit this version of ser_gpu: {what} differ in {differing}")


@dataclass(frozen=True)
class AudioConfig:
    """The waveform that the network hears: its sample rate in Hz and the length of its window in seconds."""

    sample_rate: int = 16_000
    clip_seconds: float = 3.0

    def __post_init__(self):
        _require_positive(self, "sample_rate", "clip_seconds")
        _require_at_most(self, sample_rate=192_000, clip_seconds=60.0)

    @property
    def clip_samples(self) -> int:
        """L, the samples in the window."""
        return round(self.sample_rate * self.clip_seconds)


@dataclass(frozen=True)
class TrimConfig:
    """Silence: frames more than `top_db` below the loudest one. Frame length and hop in samples."""

    top_db: float = 30.0
    frame_length: int = 2048
    hop: int = 512

    def __post_init__(self):
        _require_positive(self, "top_db", "frame_length", "hop")
        _require_at_most(self, frame_length=65_536)
        _require(self.hop >= 16, self, "hop", "16 or more")
        _require(self.frame_length % 2 == 0, self, "frame_length", "even")
        _require(self.frame_length % self.hop == 0, self, "hop", f"a divisor of the frame length {self.frame_length}")


@dataclass(frozen=True)
class AugmentConfig:
    """Training-time randomness. Each transform has its range and the probability with which a clip meets it.

    Speed moves pitch and tempo together; pitch (semitones) and stretch (tempo factor) move one and keep the other.
    `warp` is where that and the shift are done: in the waveform, or for a fraction of the work in the spectrogram.
    Noise has a signal-to-noise ratio in dB and a spectral decay (0 white, 1 pink, 2 brown). A channel is the colour of
    a microphone, the band of a line and the reverberation of a room. Band gain is the colour alone, drawn in the
    spectrogram with a standard deviation of `band_gain_db`. Masks cover up to
    `band_width` mel bands and `frame_width` frames. Mixup draws its weight from Beta(`mixup_beta`, `mixup_beta`).
    """

    enabled: bool = True
    warp: str = "spectrogram"
    speed_probability: float = 0.0
    min_speed: float = 0.87
    max_speed: float = 1.15
    pitch_probability: float = 1.0
    pitch_semitones: float = 1.8
    stretch_probability: float = 1.0
    min_stretch: float = 0.87
    max_stretch: float = 1.15
    shift_probability: float = 1.0
    shift_seconds: float = 0.25
    noise_probability: float = 0.5
    min_snr_db: float = 5.0
    max_snr_db: float = 40.0
    min_noise_decay: float = 0.0
    max_noise_decay: float = 1.0
    channel_probability: float = 0.0
    channel_colour_db: float = 10.0
    reverb_seconds: float = 0.5
    band_gain_probability: float = 1.0
    band_gain_db: float = 4.0
    band_masks: int = 2
    band_width: int = 12
    frame_masks: int = 2
    frame_width: int = 30
    mixup_probability: float = 0.5
    mixup_beta: float = 0.3

    def __post_init__(self):
        _require(self.warp in WARPS, self, "warp", f"one of {', '.join(WARPS)}")
        _require_probabilities(self, *(f.name for f in fields(self) if f.name.endswith("_probability")))
        _require_positive(self, "min_speed", "min_stretch", "pitch_semitones", "shift_seconds", "mixup_beta")
        _require_not_negative(self, "channel_colour_db", "reverb_seconds", "band_gain_db")
        _require_at_most(self, reverb_seconds=3.0)
        _require_not_negative(self, "band_masks", "band_width", "frame_masks", "frame_width")
        for low, high in (
            ("min_speed", "max_speed"),
            ("min_stretch", "max_stretch"),
            ("min_snr_db", "max_snr_db"),
            ("min_noise_decay", "max_noise_decay"),
        ):
            _require(getattr(self, low) <= getattr(self, high), self, low, f"at most {high}")


@dataclass(frozen=True)
class ViewsConfig:
    """What the network hears of a clip before it answers: the clip, and as it is or `semitones` higher or lower, and as
    it is or faster or slower by the factor `tempo`."""

    enabled: bool = True
    semitones: float = 2.0
    tempo: float = 1.2

    def __post_init__(self):
        _require_positive(self, "semitones", "tempo")
        _require_at_most(self, semitones=12.0, tempo=2.0)


@dataclass(frozen=True)
class MelConfig:
    """The log-mel spectrogram: FFT length and hop in samples, M bands from `f_min` to `f_max` Hz, floor in dB.

    `backend` chooses how the same transform is computed: "conv" (nnAudio's convolution kernels), "fft", or "auto".
    `trainable` lets gradients change nnAudio's kernels, which then belong to the weights; that needs "conv".
    """

    n_fft: int = 1024
    hop: int = 256
    n_mels: int = 64
    f_min: float = 20.0
    f_max: float = 8_000.0
    top_db: float = 80.0
    backend: str = "auto"
    trainable: bool = False

    def __post_init__(self):
        _require_positive(self, "n_fft", "hop", "n_mels", "top_db")
        _require_at_most(self, n_fft=16_384, n_mels=512)
        _require(self.hop >= 16, self, "hop", "16 or more")
        _require(self.n_fft % 2 == 0, self, "n_fft", "even")
        _require(0 <= self.f_min < self.f_max, self, "f_min", f"between 0 and f_max = {self.f_max}")
        _require(self.backend in ("auto", "conv", "fft"), self, "backend", "auto, conv or fft")
        _require(not (self.trainable and self.backend == "fft"), self, "backend", "conv or auto when trainable")

    def picture(self, name: str) -> "MelConfig":
        """Another picture of the same clip, with as many bands and frames.

        "wide" is this one. "narrow" has its bands below 1,500 Hz and twice the FFT length: it shows the harmonics of a
        voice, and so its pitch. "short" has half the FFT length: it shows when something sounds.
        """
        if name == "narrow":
            return replace(self, n_fft=2 * self.n_fft, f_max=min(self.f_max, _NARROW_HERTZ))
        return replace(self, n_fft=self.n_fft // 2) if name == "short" else self


@dataclass(frozen=True)
class CnnConfig:
    """The network: `depth` residual blocks of `width`, 2 `width`, 4 `width`, ... channels, and a head.

    `members` such networks, which differ in their first weights and in the picture that they see, learn side by side
    and answer together. `sees` names the pictures, with commas; the members take them in turn (`MelConfig.picture`).
    `band_stride` is the first convolution's step over mel bands: 2 halves the work of all that follows. `pool_first`
    puts each block's pooling before its convolutions, which then do a quarter of their work.
    `head` is "gap" (global average pooling), "statistics" (mean and standard deviation over time), "attention" (a mean
    over time, weighted by what is heard), each before a linear layer, or "flatten" (a linear layer on every cell).
    """

    width: int = 24
    depth: int = 4
    band_stride: int = 2
    pool_first: bool = True
    members: int = 2
    sees: str = "wide"
    block_dropout: float = 0.0
    head_dropout: float = 0.2
    head: str = "gap"

    def __post_init__(self):
        _require(self.width >= 2 and self.width % 2 == 0, self, "width", "an even number of channels")
        _require(1 <= self.depth <= 5, self, "depth", "between 1 and 5")
        _require(self.band_stride in (1, 2), self, "band_stride", "1 or 2")
        _require_positive(self, "members")
        _require_at_most(self, width=1_024, members=64)
        _require_probabilities(self, "block_dropout", "head_dropout")
        _require(self.head in HEADS, self, "head", f"one of {', '.join(HEADS)}")
        names = str(self.sees).split(",")
        known = set(names) <= set(PICTURES) and len(set(names)) == len(names)
        _require(known, self, "sees", f"some of {','.join(PICTURES)}, each once")

    @property
    def pictures(self) -> tuple[str, ...]:
        """The names of the P pictures that some member sees."""
        return tuple(self.sees.split(",")[: self.members])


@dataclass(frozen=True)
class ModelConfig:
    """Everything from which a `SpeechEmotionModel` is rebuilt; stored in each checkpoint."""

    audio: AudioConfig = field(default_factory=AudioConfig)
    trim: TrimConfig = field(default_factory=TrimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    mel: MelConfig = field(default_factory=MelConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    cnn: CnnConfig = field(default_factory=CnnConfig)

    def __post_init__(self):
        if self.mel.f_max > self.audio.sample_rate / 2:
            nyquist = self.audio.sample_rate / 2
            raise ValueError(
                f"MelConfig.f_max must be at most half of the sample rate, {nyquist}, got {self.mel.f_max}"
            )
        if self.audio.clip_samples < max(mel.n_fft for mel in self.pictures):
            raise ValueError(f"AudioConfig.clip_seconds must hold one FFT, got {self.audio.clip_seconds}")

    @property
    def pictures(self) -> tuple[MelConfig, ...]:
        """The P spectrograms of a clip, in the order in which the members take them."""
        return tuple(self.mel.picture(name) for name in self.cnn.pictures)

    @property
    def frames(self) -> int:
        """F, the frames of the spectrogram of one window."""
        return self.audio.clip_samples // self.mel.hop + 1

    def as_dict(self) -> dict:
        """Nested plain dictionaries, as checkpoints and JSON hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, parts: dict) -> "ModelConfig":
        """Rebuild a configuration from `as_dict`.

        Raises:
            ValueError: a part or a value that is unknown, missing or not allowed. A missing one is not left to its
                default: that may have been another when the configuration was stored.
        """
        kinds = {f.name: f.default_factory for f in fields(cls)}
        _require_names("configuration parts", parts, kinds)
        for name, kind in kinds.items():
            _require_names(f"values of {name}", parts[name], [f.name for f in fields(kind)])
        try:
            return cls(**{name: kinds[name](**parts[name]) for name in kinds})
        except (TypeError, OverflowError) as error:
            raise ValueError(f"configuration does not fit this version of ser_gpu: {error}") from None


@dataclass(frozen=True)
class TrainConfig:
    """One training: who is in it (protocol, fold), the seed, and how the weights move.

    `epochs` fit voices that are heard again; for new ones `EPOCHS_FOR_NEW_VOICES` do as well.

    `optimizer` is "adamw" for all weights, or "muon" for the kernels of the residual blocks, at a peak learning rate of
    `kernel_lr`, and AdamW for the rest, at `lr`. A `refit` learns from the validation part too.
    """

    protocol: str = "stratified"
    fold: int = 0
    seed: int = 0
    epochs: int = 120
    batch_size: int = 32
    optimizer: str = "muon"
    lr: float = 2e-3
    kernel_lr: float = 0.02
    weight_decay: float = 0.05
    warmup: float = 0.15
    label_smoothing: float = 0.1
    ema_decay: float = 0.99
    refit: bool = False

    def __post_init__(self):
        _require(self.optimizer in OPTIMIZERS, self, "optimizer", f"one of {', '.join(OPTIMIZERS)}")
        _require_positive(self, "epochs", "batch_size", "lr", "kernel_lr")
        _require_not_negative(self, "fold", "seed", "weight_decay")
        _require(self.seed < 2**32, self, "seed", "below 2^32")
        _require(0.0 < self.warmup < 1.0, self, "warmup", "between 0 and 1, both excluded")
        _require_probabilities(self, "label_smoothing", "ema_decay")


def with_settings(
    training: TrainConfig, model: ModelConfig, settings: Sequence[str]
) -> tuple[TrainConfig, ModelConfig]:
    """Both configurations with single values changed, each setting a `part.name=value`.

    Raises:
        ValueError: a part or name that there is not, or a value of another kind; names the setting.

    Example:
        >>> training, model = with_settings(TrainConfig(), ModelConfig(), ["cnn.width=48", "training.lr=1e-3"])
        >>> model.cnn.width, training.lr
        (48, 0.001)
    """
    parts = {"training": training, **{part.name: getattr(model, part.name) for part in fields(model)}}
    for setting in settings:
        name, _, text = setting.partition("=")
        part, _, key = name.partition(".")
        if part not in parts or key not in {each.name for each in fields(parts[part])}:
            known = ", ".join(f"{part}.{each.name}" for part, config in parts.items() for each in fields(config))
            raise ValueError(f"no such setting: {name!r}, there are {known}")
        parts[part] = replace(parts[part], **{key: _parsed(setting, text, getattr(parts[part], key))})
    return parts.pop("training"), ModelConfig(**parts)


def _parsed(setting: str, text: str, before: bool | int | float | str) -> bool | int | float | str:
    if isinstance(before, str):
        return text
    try:
        return {"true": True, "false": False}[text] if isinstance(before, bool) else type(before)(text)
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(before)]
        raise ValueError(f"{setting}: the value must be {kind}") from None
