"""What a model is made of: nested frozen dataclasses of plain scalars, checked when they are built."""

from dataclasses import asdict, dataclass, fields

from ser_gpu.errors import InputError
from ser_gpu.settings import EVEN, NOT_NEGATIVE, POSITIVE, PROBABILITY, Settings, at_least, at_most, setting

HEADS = ("gap", "flatten")
WARPS = ("waveform", "spectrogram")
FILLS = ("silence", "repeat")
# settings that came later, and what a file without them means
_LATER = {"trim": {"fill": "silence"}, "mel": {"mean_subtraction": 0.0}}


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
    """Silence: frames more than `top_db` below the loudest one; frame length and hop in samples. What is left, if it is
    shorter than the window, is in its middle with silence around it, or, with "repeat", repeated until it is full."""

    top_db: float = setting(30.0, POSITIVE)
    frame_length: int = setting(2048, POSITIVE, at_most(65_536), EVEN)
    hop: int = setting(512, at_least(16))
    fill: str = setting("silence", choices=FILLS)  # "repeat": short clips and long ones look alike to the network

    def __post_init__(self):
        super().__post_init__()
        self.require(self.frame_length % self.hop == 0, "hop", f"a divisor of the frame length {self.frame_length}")


@dataclass(frozen=True)
class AugmentConfig(Settings):
    """Augmentation while training: the range of each transform, and the probability that a clip gets it."""

    enabled: bool = True
    chain: str = "warp,channel,noise"  # of `ser_gpu.stages.waveform_augment.TRANSFORMS`, in order
    warp: str = setting("spectrogram", choices=WARPS)  # where speed, pitch, stretch, shift are done; this is less work
    speed_probability: float = setting(0.0, PROBABILITY)  # pitch and tempo together; the next two change one of them
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
    min_noise_decay: float = 0.0  # of the spectrum: 0 white, 1 pink, 2 brown
    max_noise_decay: float = 1.0
    channel_probability: float = setting(0.0, PROBABILITY)  # another microphone, line and room
    channel_colour_db: float = setting(10.0, NOT_NEGATIVE)
    reverb_seconds: float = setting(0.5, NOT_NEGATIVE, at_most(3.0))
    band_gain_probability: float = setting(1.0, PROBABILITY)  # another microphone, in the spectrogram
    band_gain_db: float = setting(4.0, NOT_NEGATIVE)  # its standard deviation
    band_masks: int = setting(2, NOT_NEGATIVE)
    band_width: int = setting(12, NOT_NEGATIVE)  # the most mel bands of a mask
    frame_masks: int = setting(2, NOT_NEGATIVE)
    frame_width: int = setting(30, NOT_NEGATIVE)
    mixup_probability: float = setting(0.5, PROBABILITY)
    mixup_beta: float = setting(0.3, POSITIVE)  # the weight is drawn from Beta(mixup_beta, mixup_beta)

    def __post_init__(self):
        super().__post_init__()
        for varied in ("speed", "stretch", "snr_db", "noise_decay"):
            low, high = f"min_{varied}", f"max_{varied}"
            self.require(getattr(self, low) <= getattr(self, high), low, f"at most {high}")


@dataclass(frozen=True)
class TtaConfig(Settings):
    """Test-time augmentation: the answers to a clip at three pitches by three tempi are averaged."""

    enabled: bool = True
    semitones: float = setting(2.0, POSITIVE, at_most(12.0))  # higher and lower
    tempo: float = setting(1.2, POSITIVE, at_most(2.0))  # the ratio by which it is faster and slower; 1: as it is alone


@dataclass(frozen=True)
class MelConfig(Settings):
    """The log-mel spectrogram; FFT length and hop in samples, the ends of the bands in Hz."""

    n_fft: int = setting(1024, POSITIVE, at_most(16_384), EVEN)
    hop: int = setting(256, at_least(16))
    n_mels: int = setting(64, POSITIVE, at_most(512))  # M
    f_min: float = 20.0
    f_max: float = 8_000.0
    top_db: float = setting(80.0, POSITIVE)  # the floor, below the loudest
    mean_subtraction: float = setting(0.0, PROBABILITY)  # the share of each band's mean over time that is taken away
    # the same transform: "conv" by nnAudio's kernels, "fft" by FFT, "auto" by what suits the device
    backend: str = setting("auto", (lambda backend: backend in ("auto", "conv", "fft"), "auto, conv or fft"))
    trainable: bool = False  # gradients change nnAudio's kernels, which then belong to the weights

    def __post_init__(self):
        super().__post_init__()
        self.require(0 <= self.f_min < self.f_max, "f_min", f"between 0 and f_max = {self.f_max}")
        self.require(not (self.trainable and self.backend == "fft"), "backend", "conv or auto when trainable")


@dataclass(frozen=True)
class CnnConfig(Settings):
    """The network: which one, how wide and how deep."""

    network: str = "residual"  # of `ser_gpu.stages.cnn.NETWORKS`
    width: int = setting(24, at_least(2), EVEN, at_most(1_024))  # channels of the first block; each next one has twice
    depth: int = setting(4, (lambda depth: 1 <= depth <= 5, "between 1 and 5"))  # residual blocks
    members: int = setting(2, POSITIVE, at_most(64))  # networks trained side by side, whose mean is the answer
    block_dropout: float = setting(0.0, PROBABILITY)
    head_dropout: float = setting(0.2, PROBABILITY)
    # "gap": global average pooling; "flatten": a linear layer on every cell
    head: str = setting("gap", choices=HEADS, help="the last feature maps: averaged, or all cells")


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
        """Rebuild from `as_dict`; InputError at a part or a value that is unknown, missing or not allowed."""

        # a missing value gets no default, which may have changed since, but what files meant before it came
        def fit(what: str, stored: object, kind: type) -> dict[str, type]:
            kinds = {each.name: each.type for each in fields(kind)}
            if differing := kinds.keys() ^ (stored if isinstance(stored, dict) else ()):
                differing = ", ".join(sorted(map(str, differing)))
                raise InputError(f"configuration does not fit this version of ser_gpu: {what} differ in {differing}")
            return kinds

        kinds = fit("configuration parts", parts, cls)
        parts = {name: _LATER.get(name, {}) | part if isinstance(part, dict) else part for name, part in parts.items()}
        for name, kind in kinds.items():
            fit(f"values of {name}", parts[name], kind)
        try:
            return cls(**{name: kind(**parts[name]) for name, kind in kinds.items()})
        except (TypeError, OverflowError) as error:
            raise InputError(f"configuration does not fit this version of ser_gpu: {error}") from None
