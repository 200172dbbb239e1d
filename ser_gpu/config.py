"""What a model is made of: nested frozen dataclasses of plain scalars, checked when they are built."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

from ser_gpu.errors import InputError

HEADS = ("gap", "flatten")
WARPS = ("waveform", "spectrogram")


def require(holds: bool, owner: object, name: str, rule: str) -> None:
    if not holds:
        raise InputError(f"{type(owner).__name__}.{name} must be {rule}, got {getattr(owner, name)!r}")


def require_at_most(owner: object, **limits: float) -> None:
    """Far beyond any use: a configuration that comes with a file must not ask for all the memory there is."""
    for name, limit in limits.items():
        require(getattr(owner, name) <= limit, owner, name, f"at most {limit:,}")


def require_probabilities(owner: object, *names: str) -> None:
    for name in names:
        require(0.0 <= getattr(owner, name) <= 1.0, owner, name, "between 0 and 1")


def require_positive(owner: object, *names: str) -> None:
    for name in names:
        require(getattr(owner, name) > 0, owner, name, "positive")


def require_not_negative(owner: object, *names: str) -> None:
    for name in names:
        require(getattr(owner, name) >= 0, owner, name, "zero or more")


def require_names(what: str, stored: object, names: Iterable[str]) -> None:
    found = set(stored) if isinstance(stored, dict) else set()
    if found != set(names):
        differing = ", ".join(sorted(map(str, found ^ set(names))))
        raise InputError(f"configuration does not fit this version of ser_gpu: {what} differ in {differing}")


@dataclass(frozen=True)
class AudioConfig:
    """The waveform that the network hears: its sample rate in Hz and the length of its window in seconds."""

    sample_rate: int = 16_000
    clip_seconds: float = 3.0

    def __post_init__(self):
        require_positive(self, "sample_rate", "clip_seconds")
        require_at_most(self, sample_rate=192_000, clip_seconds=60.0)

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
        require_positive(self, "top_db", "frame_length", "hop")
        require_at_most(self, frame_length=65_536)
        require(self.hop >= 16, self, "hop", "16 or more")
        require(self.frame_length % 2 == 0, self, "frame_length", "even")
        require(self.frame_length % self.hop == 0, self, "hop", f"a divisor of the frame length {self.frame_length}")


@dataclass(frozen=True)
class AugmentConfig:
    """Training-time randomness. Each transform has its range and the probability with which it is applied to a clip.

    Speed changes pitch and tempo together; pitch (semitones) and stretch (tempo ratio) change one and keep the other.
    `warp` is where that and the shift are done: in the waveform, or for a fraction of the work in the spectrogram.
    `chain` names the waveform transforms, in order (`ser_gpu.stages.waveform_augment.TRANSFORMS`).
    Noise has a signal-to-noise ratio in dB and a spectral decay (0 white, 1 pink, 2 brown). A channel is the colour of
    a microphone, the band of a line and the reverberation of a room. Band gain is the colour alone, drawn in the
    spectrogram with a standard deviation of `band_gain_db`. Masks cover up to
    `band_width` mel bands and `frame_width` frames. Mixup draws its weight from Beta(`mixup_beta`, `mixup_beta`).
    """

    enabled: bool = True
    chain: str = "warp,channel,noise"
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
        require(self.warp in WARPS, self, "warp", f"one of {', '.join(WARPS)}")
        require_probabilities(self, *(f.name for f in fields(self) if f.name.endswith("_probability")))
        require_positive(self, "min_speed", "min_stretch", "pitch_semitones", "shift_seconds", "mixup_beta")
        require_not_negative(self, "channel_colour_db", "reverb_seconds", "band_gain_db")
        require_at_most(self, reverb_seconds=3.0)
        require_not_negative(self, "band_masks", "band_width", "frame_masks", "frame_width")
        for low, high in (
            ("min_speed", "max_speed"),
            ("min_stretch", "max_stretch"),
            ("min_snr_db", "max_snr_db"),
            ("min_noise_decay", "max_noise_decay"),
        ):
            require(getattr(self, low) <= getattr(self, high), self, low, f"at most {high}")


@dataclass(frozen=True)
class TtaConfig:
    """Test-time augmentation: a clip is answered at three pitches (as it is, `semitones` higher, lower) by three tempi
    (as it is, faster, slower by the ratio `tempo`; 1: as it is alone), and the answers are averaged."""

    enabled: bool = True
    semitones: float = 2.0
    tempo: float = 1.2

    def __post_init__(self):
        require_positive(self, "semitones", "tempo")
        require_at_most(self, semitones=12.0, tempo=2.0)


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
        require_positive(self, "n_fft", "hop", "n_mels", "top_db")
        require_at_most(self, n_fft=16_384, n_mels=512)
        require(self.hop >= 16, self, "hop", "16 or more")
        require(self.n_fft % 2 == 0, self, "n_fft", "even")
        require(0 <= self.f_min < self.f_max, self, "f_min", f"between 0 and f_max = {self.f_max}")
        require(self.backend in ("auto", "conv", "fft"), self, "backend", "auto, conv or fft")
        require(not (self.trainable and self.backend == "fft"), self, "backend", "conv or auto when trainable")


@dataclass(frozen=True)
class CnnConfig:
    """The network: which one (`ser_gpu.stages.cnn.NETWORKS`), how wide and how deep.

    The residual network has `depth` blocks of `width`, 2 `width`, 4 `width`, ... channels. `head` is "gap" (global
    average pooling) or "flatten" (a linear layer on every cell). `members` networks of one kind, which differ in their
    first weights, are trained side by side; their mean is the answer.
    """

    network: str = "residual"
    width: int = 24
    depth: int = 4
    members: int = 2
    block_dropout: float = 0.0
    head_dropout: float = 0.2
    head: str = "gap"

    def __post_init__(self):
        require(self.width >= 2 and self.width % 2 == 0, self, "width", "an even number of channels")
        require(1 <= self.depth <= 5, self, "depth", "between 1 and 5")
        require_positive(self, "members")
        require_at_most(self, width=1_024, members=64)
        require_probabilities(self, "block_dropout", "head_dropout")
        require(self.head in HEADS, self, "head", f"one of {', '.join(HEADS)}")


@dataclass(frozen=True)
class ModelConfig:
    """Everything from which a `SpeechEmotionModel` is rebuilt; stored in each checkpoint."""

    audio: AudioConfig = AudioConfig()
    trim: TrimConfig = TrimConfig()
    augment: AugmentConfig = AugmentConfig()
    mel: MelConfig = MelConfig()
    tta: TtaConfig = TtaConfig()
    cnn: CnnConfig = CnnConfig()

    def __post_init__(self):
        nyquist = self.audio.sample_rate / 2
        if self.mel.f_max > nyquist:
            raise InputError(
                f"MelConfig.f_max must be at most half of the sample rate, {nyquist}, got {self.mel.f_max}"
            )
        if self.audio.clip_samples < self.mel.n_fft:
            raise InputError(f"AudioConfig.clip_seconds must hold one FFT, got {self.audio.clip_seconds}")

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
                default, which may have been another when the configuration was stored: `ser_gpu.checkpoint` says what
                older files meant.
        """
        kinds = {f.name: f.type for f in fields(cls)}
        require_names("configuration parts", parts, kinds)
        for name, kind in kinds.items():
            require_names(f"values of {name}", parts[name], [f.name for f in fields(kind)])
        try:
            return cls(**{name: kind(**parts[name]) for name, kind in kinds.items()})
        except (TypeError, OverflowError) as error:
            raise InputError(f"configuration does not fit this version of ser_gpu: {error}") from None
