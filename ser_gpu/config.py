"""What a model is made of: nested frozen dataclasses of plain scalars, checked when they are built."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

from ser_gpu.errors import InputError
from ser_gpu.settings import EVEN, NOT_NEGATIVE, POSITIVE, PROBABILITY, Settings, at_least, at_most, setting

HEADS = ("gap", "flatten")
WARPS = ("waveform", "spectrogram")


def _require_names(what: str, stored: object, names: Iterable[str]) -> None:
    found = set(stored) if isinstance(stored, dict) else set()
    if found != set(names):
        differing = ", ".join(sorted(map(str, found ^ set(names))))
        raise InputError(f"configuration does not fit this version of ser_gpu: {what} differ in {differing}")


@dataclass(frozen=True)
class AudioConfig(Settings):
    """The waveform that the network hears: its sample rate in Hz and the length of its window in seconds."""

    sample_rate: int = setting(16_000, POSITIVE, at_most(192_000))
    clip_seconds: float = setting(3.0, POSITIVE, at_most(60.0))

    @property
    def clip_samples(self) -> int:
        """L, the samples in the window."""
        return round(self.sample_rate * self.clip_seconds)


@dataclass(frozen=True)
class TrimConfig(Settings):
    """Silence: frames more than `top_db` below the loudest one. Frame length and hop in samples."""

    top_db: float = setting(30.0, POSITIVE)
    frame_length: int = setting(2048, POSITIVE, at_most(65_536), EVEN)
    hop: int = setting(512, at_least(16))

    def __post_init__(self):
        super().__post_init__()
        self.require(self.frame_length % self.hop == 0, "hop", f"a divisor of the frame length {self.frame_length}")


@dataclass(frozen=True)
class AugmentConfig(Settings):
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
    warp: str = setting("spectrogram", choices=WARPS)
    speed_probability: float = setting(0.0, PROBABILITY)
    min_speed: float = setting(0.87, POSITIVE)
    max_speed: float = 1.15
    pitch_probability: float = setting(1.0, PROBABILITY)
    pitch_semitones: float = setting(1.8, POSITIVE)
    stretch_probability: float = setting(1.0, PROBABILITY)
    min_stretch: float = setting(0.87, POSITIVE)
    max_stretch: float = 1.15
    shift_probability: float = setting(1.0, PROBABILITY)
    shift_seconds: float = setting(0.25, POSITIVE)
    noise_probability: float = setting(0.5, PROBABILITY)
    min_snr_db: float = 5.0
    max_snr_db: float = 40.0
    min_noise_decay: float = 0.0
    max_noise_decay: float = 1.0
    channel_probability: float = setting(0.0, PROBABILITY)
    channel_colour_db: float = setting(10.0, NOT_NEGATIVE)
    reverb_seconds: float = setting(0.5, NOT_NEGATIVE, at_most(3.0))
    band_gain_probability: float = setting(1.0, PROBABILITY)
    band_gain_db: float = setting(4.0, NOT_NEGATIVE)
    band_masks: int = setting(2, NOT_NEGATIVE)
    band_width: int = setting(12, NOT_NEGATIVE)
    frame_masks: int = setting(2, NOT_NEGATIVE)
    frame_width: int = setting(30, NOT_NEGATIVE)
    mixup_probability: float = setting(0.5, PROBABILITY)
    mixup_beta: float = setting(0.3, POSITIVE)

    def __post_init__(self):
        super().__post_init__()
        for varied in ("speed", "stretch", "snr_db", "noise_decay"):
            low, high = f"min_{varied}", f"max_{varied}"
            self.require(getattr(self, low) <= getattr(self, high), low, f"at most {high}")


@dataclass(frozen=True)
class TtaConfig(Settings):
    """Test-time augmentation: a clip is answered at three pitches (as it is, `semitones` higher, lower) by three tempi
    (as it is, faster, slower by the ratio `tempo`; 1: as it is alone), and the answers are averaged."""

    enabled: bool = True
    semitones: float = setting(2.0, POSITIVE, at_most(12.0))
    tempo: float = setting(1.2, POSITIVE, at_most(2.0))


@dataclass(frozen=True)
class MelConfig(Settings):
    """The log-mel spectrogram: FFT length and hop in samples, M bands from `f_min` to `f_max` Hz, floor in dB.

    `backend` chooses how the same transform is computed: "conv" (nnAudio's convolution kernels), "fft", or "auto".
    `trainable` lets gradients change nnAudio's kernels, which then belong to the weights; that needs "conv".
    """

    n_fft: int = setting(1024, POSITIVE, at_most(16_384), EVEN)
    hop: int = setting(256, at_least(16))
    n_mels: int = setting(64, POSITIVE, at_most(512))
    f_min: float = 20.0
    f_max: float = 8_000.0
    top_db: float = setting(80.0, POSITIVE)
    backend: str = setting("auto", (lambda backend: backend in ("auto", "conv", "fft"), "auto, conv or fft"))
    trainable: bool = False

    def __post_init__(self):
        super().__post_init__()
        self.require(0 <= self.f_min < self.f_max, "f_min", f"between 0 and f_max = {self.f_max}")
        self.require(not (self.trainable and self.backend == "fft"), "backend", "conv or auto when trainable")


@dataclass(frozen=True)
class CnnConfig(Settings):
    """The network: which one (`ser_gpu.stages.cnn.NETWORKS`), how wide and how deep.

    The residual network has `depth` blocks of `width`, 2 `width`, 4 `width`, ... channels. `head` is "gap" (global
    average pooling) or "flatten" (a linear layer on every cell). `members` networks of one kind, which differ in their
    first weights, are trained side by side; their mean is the answer.
    """

    network: str = "residual"
    width: int = setting(24, at_least(2), EVEN, at_most(1_024))
    depth: int = setting(4, (lambda depth: 1 <= depth <= 5, "between 1 and 5"))
    members: int = setting(2, POSITIVE, at_most(64))
    block_dropout: float = setting(0.0, PROBABILITY)
    head_dropout: float = setting(0.2, PROBABILITY)
    head: str = setting("gap", choices=HEADS, help="how the last feature maps are pooled")


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
        self.mel.require(self.mel.f_max <= nyquist, "f_max", f"at most half of the sample rate, {nyquist}")
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
            InputError: a part or a value that is unknown, missing or not allowed. A missing one is not left to its
                default, which may have been another then: `ser_gpu.checkpoint` says what older files meant.
        """
        kinds = {f.name: f.type for f in fields(cls)}
        _require_names("configuration parts", parts, kinds)
        for name, kind in kinds.items():
            _require_names(f"values of {name}", parts[name], [f.name for f in fields(kind)])
        try:
            return cls(**{name: kind(**parts[name]) for name, kind in kinds.items()})
        except (TypeError, OverflowError) as error:
            raise InputError(f"configuration does not fit this version of ser_gpu: {error}") from None
