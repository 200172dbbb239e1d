"""ser-gpu live: the emotion of the last seconds, twice a second, from a microphone or raw samples on standard input."""

import argparse
import queue
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

from ser_gpu.cli import console, options
from ser_gpu.errors import AudioError, InputError, extra
from ser_gpu.prediction import Prediction
from ser_gpu.recognizer import Answers
from ser_gpu.timeline.stream import Stream

STEP_SECONDS = 0.5
FORMATS = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4", "u8": "u1"}
DEFAULT_FORMAT = "s16le"
_HELD_SECONDS = 10.0
_NOTHING = {"emotion": None, "confidence": None, "probabilities": {}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and listen."""
    parser = argparse.ArgumentParser(
        prog="ser-gpu live",
        description="Print the emotion of the last three seconds, twice a second: of a microphone, or of raw samples "
        "on standard input. Ctrl-C ends it.",
    )
    add = parser.add_argument
    add("source", nargs="?", choices=("-",), help="standard input (default: the microphone)")
    add("--format", choices=FORMATS, help=f"of the raw samples on standard input (default: {DEFAULT_FORMAT})")
    add("--rate", type=options.positive_int, default=16_000, help="Hz of standard input (default: %(default)s)")
    add("--channels", type=int, choices=range(1, 9), default=1, help="of standard input (default: %(default)s)")
    add("--json", action="store_true", help="an object a line on a terminal too")
    add("--voice", metavar="FILE", help="the speaker's voice, as ser-gpu enrol wrote it with the same checkpoint")
    add("--weights", help="checkpoint, or .onnx file of ser-gpu export (default: the shipped one)")
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    args = parser.parse_args(arguments)
    return options.run(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    listener = _Microphone() if args.source is None and args.format is None else _StandardInput(args)
    model = options.model(args.weights, args.device)
    voice = options.voice(args.voice, model) if args.voice else None
    stream = Stream(Answers(model, voice), listener.rate, listener.name)
    in_place = sys.stdout.isatty() and not args.json
    times: list[tuple[float, float, float]] = []  # seconds of sound, and of its answer by the clock, by the processor
    try:
        for chunk in listener.chunks():
            begin = time.perf_counter(), time.process_time()
            stream.push(chunk)
            _show(stream.seconds, stream.now(), in_place)
            taken = time.perf_counter() - begin[0], time.process_time() - begin[1]
            times.append((len(chunk) / listener.rate, *taken))
    except KeyboardInterrupt:  # the usual end
        pass
    finally:
        if in_place:
            print(flush=True)
        if times:
            _, late, busy = 1_000 * np.quantile(times, 0.95, axis=0)
            heard, clock, _ = np.sum(times, axis=0)
            console.err.print(
                f"{heard:.1f} s heard, real-time ratio {clock / heard:.3f}, "
                f"95 % of the answers within {late:.0f} ms ({busy:.0f} ms of processor time), "
                f"dropped {listener.dropped_seconds:.1f} s"
            )
    return options.DONE


def _show(seconds: float, answer: Prediction | None, in_place: bool) -> None:
    if in_place:
        said = f"{answer.emotion} {answer.confidence:.0%}" if answer else "nobody speaks"
        print(f"\r{seconds:8.1f} s  {said:24}", end="", flush=True)
        return
    said = {name: getattr(answer, name, none) for name, none in _NOTHING.items()}
    console.print_json({"time": round(seconds, 3), "speech": answer is not None, **said}, indent=None)


class _StandardInput:
    # nothing is dropped: a writer that is too fast waits
    name, dropped_seconds = "standard input", 0.0

    def __init__(self, args: argparse.Namespace):
        self.rate, self.channels, self.type = args.rate, args.channels, np.dtype(FORMATS[args.format or DEFAULT_FORMAT])

    def chunks(self) -> Iterator[np.ndarray]:  # [T, channels], half a second, the last one shorter
        if sys.stdin is None:
            raise AudioError.of(self.name, "is closed")
        frame_bytes = self.channels * self.type.itemsize
        while content := sys.stdin.buffer.read(round(STEP_SECONDS * self.rate) * frame_bytes):
            frames, left = divmod(len(content), frame_bytes)
            yield np.frombuffer(content, self.type, frames * self.channels).reshape(frames, self.channels)
            if left:
                raise AudioError.of(self.name, f"ends inside a sample: {left} bytes of {frame_bytes} are left")


class _Microphone:
    # sound that waits for more than ten seconds is dropped and counted
    name, rate, dropped_seconds = "microphone", 16_000, 0.0

    def __init__(self):
        try:
            self._sounddevice = extra("sounddevice", "live")
        except OSError:  # sounddevice is installed, PortAudio is not
            raise InputError("a microphone needs PortAudio (apt install libportaudio2)") from None
        self._held: queue.Queue[np.ndarray] = queue.Queue(round(_HELD_SECONDS / STEP_SECONDS))

    def chunks(self) -> Iterator[np.ndarray]:  # [T, 1], half a second each
        size = round(STEP_SECONDS * self.rate)
        try:
            with self._sounddevice.InputStream(self.rate, size, channels=1, dtype="float32", callback=self._heard):
                while True:
                    yield self._held.get()
        except self._sounddevice.PortAudioError as error:
            raise AudioError.of(self.name, f"cannot be opened ({error})") from None

    def _heard(self, samples: np.ndarray, frames: int, _time: object, status: object) -> None:
        try:
            self._held.put_nowait(samples.copy())
        except queue.Full:
            self.dropped_seconds += frames / self.rate
        if getattr(status, "input_overflow", False):  # the system dropped sound, it does not say how much
            self.dropped_seconds += frames / self.rate


if __name__ == "__main__":
    sys.exit(main())
