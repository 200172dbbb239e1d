"""TimelineSettings: how a recording is cut and smoothed; chosen on validation clips."""

from dataclasses import dataclass

from ser_gpu.settings import POSITIVE, PROBABILITY, Settings, setting


@dataclass(frozen=True)
class TimelineSettings(Settings):
    """How a recording is cut and smoothed. The values were chosen by `python -m experiments.timeline --fit`.

    Attributes:
        on: probability of speech at which speech starts.
        off: probability below which it may end.
        pause_frames: frames of 32 ms below `off` that end it.
        margin_frames: frames on each side of a stretch that belong to it.
        least_frames: frames of `on` or more without which a stretch is no speech.
        stay: probability that an emotion outlasts a second.
        full_seconds: a shorter stretch is weaker evidence, in proportion.
    """

    on: float = setting(0.5, PROBABILITY)
    off: float = setting(0.2, PROBABILITY)
    pause_frames: int = setting(4, POSITIVE)
    margin_frames: int = 3
    least_frames: int = setting(3, POSITIVE)
    stay: float = setting(0.3, PROBABILITY)
    full_seconds: float = setting(1.0, POSITIVE)

    def __post_init__(self):
        super().__post_init__()
        self.require(0 <= self.margin_frames <= self.pause_frames, "margin_frames", "between 0 and `pause_frames`")
        self.require(self.off <= self.on, "off", "at most `on`")
