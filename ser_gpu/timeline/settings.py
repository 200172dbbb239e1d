"""TimelineSettings: how a recording is cut and smoothed; chosen on validation clips."""

from dataclasses import dataclass

from ser_gpu.config import require, require_positive, require_probabilities


@dataclass(frozen=True)
class TimelineSettings:
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

    on: float = 0.5
    off: float = 0.2
    pause_frames: int = 4
    margin_frames: int = 3
    least_frames: int = 3
    stay: float = 0.3
    full_seconds: float = 1.0

    def __post_init__(self):
        require_probabilities(self, "on", "off", "stay")
        require_positive(self, "pause_frames", "least_frames", "full_seconds")
        require(0 <= self.margin_frames <= self.pause_frames, self, "margin_frames", "between 0 and `pause_frames`")
        require(self.off <= self.on, self, "off", "at most `on`")
