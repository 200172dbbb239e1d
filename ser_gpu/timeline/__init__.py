"""The emotions of a recording over time: `timeline` for files, `stream.Stream` for live samples."""

from collections.abc import Iterator

from ser_gpu.audio.samples import natural_blocks
from ser_gpu.timeline.segment import Segment, Timeline, merged
from ser_gpu.timeline.speakers import Speakers
from ser_gpu.timeline.stream import Answers, Stream

__all__ = ["Answers", "Segment", "Speakers", "Stream", "Timeline", "merged", "stretches", "timeline"]


def timeline(
    answers: Answers, recording: object, sample_rate: int | None = None, speakers: Speakers | None = None
) -> Timeline:
    """The emotions of one recording over time; memory grows with the answers alone. Raises AudioError."""
    name, parts = stretches(answers, recording, sample_rate, speakers)
    found = list(parts)
    return Timeline(name, found[-1][0], answers.labels, tuple(each for _, segments in found for each in segments))


def stretches(
    answers: Answers, recording: object, sample_rate: int | None = None, speakers: Speakers | None = None
) -> tuple[str, Iterator[tuple[float, list[Segment]]]]:
    """The name of a recording and, while it is read, (seconds heard, finished segments). Both raise AudioError."""
    name, blocks = natural_blocks(recording, sample_rate, answers.sample_rate)

    def parts() -> Iterator[tuple[float, list[Segment]]]:
        stream = None
        for rate, block in blocks:
            stream = stream or Stream(answers, rate, name, speakers=speakers)
            for at in range(0, len(block), rate):
                yield stream.seconds, stream.push(block[at : at + rate])
        last = stream.close()
        yield stream.seconds, last

    return name, parts()
