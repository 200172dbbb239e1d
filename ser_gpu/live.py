"""ser-gpu live: the emotion of the last seconds, twice a second, from a microphone or standard input."""

import argparse
import queue
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial

import numpy as np

from ser_gpu.audio import wav
from ser_gpu.audio.formats import is_file
from ser_gpu.audio.samples import MOST_CHANNELS, natural_blocks, regroup, resampled
from ser_gpu.cli import console, options
from ser_gpu.errors import AudioError, check, extra, reason
from ser_gpu.prediction import Prediction
from ser_gpu.timeline.formats import percent
from ser_gpu.timeline.stream import Answers, Stream

STEP_SECONDS = 0.5
FORMATS = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4", "u8": "u1"}
DEFAULT_FORMAT, DEFAULT_RATE = "s16le", 16_000
_HELD_SECONDS = 10.0
_SILENT_SECONDS = 5.0
_USUAL_RATES = (48_000, 44_100, 16_000)  # Hz, where a microphone does not tell its own, or refuses it
_HEAD_BYTES = 4_096  # two frames of an MP3 file
_NOTHING = {"emotion": None, "confidence": None, "probabilities": {}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and listen."""
    about = (
        "Print the emotion of the last three seconds, twice a second. The source is a microphone, or standard input "
    )
    about += "with raw samples or an audio file. WAV is answered while it arrives, other formats when they have ended: "
    about += "ffmpeg -v error -i - -f wav - makes WAV of them. Ctrl-C ends it."
    parser = options.Parser(prog="ser-gpu live", description=about)
    group = parser.add_argument_group("source")
    add, add_source = group.add_argument, group.add_mutually_exclusive_group().add_argument
    add_source("source", nargs="?", choices=("-",), help="standard input (default: the microphone)")
    add_source("--input", metavar="NAME", help="a microphone: part of its name, or its number (default: the system's)")
    add("--list-inputs", action="store_true", help="show the microphones, and end")
    add("--format", choices=FORMATS, help=f"format of raw samples on standard input (default: {DEFAULT_FORMAT})")
    help = "sample rate (default: 16000 for raw samples, else that of the microphone)"
    add("--rate", type=options.positive_int, metavar="HZ", help=help)
    help = f"number of channels, at most {MOST_CHANNELS} (default: 1 for raw samples, else those of the microphone)"
    add("--channels", type=int, choices=range(1, MOST_CHANNELS + 1), metavar="N", help=help)
    add = parser.add_argument_group("answers").add_argument
    add("--voice", metavar="FILE", help=options.VOICE)
    add("--json", action="store_true", help="print one JSON object a line, on a terminal too")
    options.add_model(parser)
    args = parser.parse_args(arguments)
    return options.run(lambda: _list_inputs() if args.list_inputs else _run(args))


def _list_inputs() -> int:
    for number, each in enumerate(extra("sounddevice", "live").query_devices()):
        if channels := each["max_input_channels"]:
            print(f"{number:3}  {each['name']} ({channels} channels, {each['default_samplerate']:.0f} Hz)")
    return options.DONE


def _run(args: argparse.Namespace) -> int:
    check(not (args.input and args.format), "--format is of standard input, and --input a microphone")
    is_piped = args.source is not None or args.format is not None
    listener = _StandardInput(args) if is_piped else _Microphone(args)
    model = options.model(args.weights, args.device)
    voice = options.voice(args.voice, model) if args.voice else None
    stream = Stream(Answers(model, voice), listener.rate, listener.name)
    in_place = sys.stdout.isatty() and not args.json
    times: list[tuple[float, float, float]] = []  # seconds of sound, and of its answer by the clock, by the processor
    try:
        with suppress(KeyboardInterrupt):  # the usual end
            for chunk in listener.chunks:
                begin = time.perf_counter(), time.process_time()
                stream.push(chunk)
                if stream.seconds:
                    _show(stream.seconds, stream.now(), in_place)
                taken = time.perf_counter() - begin[0], time.process_time() - begin[1]
                times.append((len(chunk) / listener.rate, *taken))
    finally:
        answered = stream.seconds
        stream.close()
        if stream.seconds > answered:
            _show(stream.seconds, stream.now(), in_place)
        if in_place:
            print(flush=True)
    if times:
        _, late, busy = 1_000 * np.quantile(times, 0.95, axis=0)
        heard, clock, _ = np.sum(times, axis=0)
        delay = f"95 % of the answers within {late:.0f} ms ({busy:.0f} ms of CPU time)"
        said = f"{heard:.1f} s heard, real-time factor {clock / heard:.3f}, {delay}"
        console.err.print(f"{said}, dropped {listener.dropped_seconds:.1f} s")
    return options.DONE


def _show(seconds: float, answer: Prediction | None, in_place: bool) -> None:
    if in_place:
        said = f"{answer.emotion} {percent(answer.confidence)} %" if answer else "nobody speaks"
        print(f"\r{seconds:8.1f} s  {said:24}", end="", flush=True)
        return
    said = {name: getattr(answer, name, none) for name, none in _NOTHING.items()}
    console.print_json({"time": round(seconds, 3), "speech": answer is not None, **said}, indent=None)


class _StandardInput:
    # chunks [T, channels] or [T] of half a second; nothing is dropped: a writer that is too fast waits
    name, dropped_seconds = "standard input", 0.0

    def __init__(self, args: argparse.Namespace):
        self._head = sys.stdin.buffer.read(_HEAD_BYTES) if sys.stdin else b""
        check(self._head, f"{self.name}: is empty", AudioError)
        coding = 0, args.rate or DEFAULT_RATE, args.channels or 1, FORMATS[args.format or DEFAULT_FORMAT], None
        if is_file(self._head):
            coding = wav.coding(self._head)
            unused = ", ".join(f"--{name}" for name in ("format", "rate", "channels") if getattr(args, name))
            console.note(unused and f"{self.name}: its header is used, and not {unused}")
        if coding is None:  # a format that is decoded when it is there as a whole
            self.rate = DEFAULT_RATE
            sound = resampled(natural_blocks(self, None, self.rate)[1], self.rate)
            self.chunks = regroup(sound, STEP_SECONDS * self.rate)
        else:
            start, self.rate, channels, type, size = coding
            self.read(start)
            self.chunks = self._raw(np.dtype(type), channels, size)

    def read(self, size: int) -> bytes:
        """The next bytes: those that were looked at come again."""
        head, self._head = self._head[:size], self._head[size:]
        return head + sys.stdin.buffer.read(size - len(head))

    def _raw(self, type: np.dtype, channels: int, left: int | None) -> Iterator[np.ndarray]:
        frame_bytes = channels * type.itemsize
        size = round(STEP_SECONDS * self.rate) * frame_bytes
        while content := self.read(size if left is None else min(size, left)):
            left = left and left - len(content)
            frames, rest = divmod(len(content), frame_bytes)
            if frames:
                yield np.frombuffer(content, type, frames * channels).reshape(frames, channels)
            if rest:
                raise AudioError.of(self.name, f"ends inside a sample: {rest} bytes of {frame_bytes} are left")


class _Microphone:
    # chunks [T, channels] of half a second; sound that waits for more than ten seconds is dropped and counted
    name, dropped_seconds = "microphone", 0.0

    def __init__(self, args: argparse.Namespace):
        sounddevice = extra("sounddevice", "live")
        self._held: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()  # None is the end
        self._open, errors = ExitStack(), []
        device = int(args.input) if args.input and args.input.isdecimal() else args.input
        own = {"default_samplerate": _USUAL_RATES[0], "max_input_channels": 1}
        with suppress(Exception):  # opening it says what is wrong
            own |= sounddevice.query_devices(device, "input")
        settings = {"device": device, "dtype": "float32", "callback": self._heard}
        settings["finished_callback"] = partial(self._held.put, None)
        settings["channels"] = args.channels or min(own["max_input_channels"], MOST_CHANNELS)
        for self.rate in [args.rate] if args.rate else [round(own["default_samplerate"]), *_USUAL_RATES]:
            settings |= {"samplerate": self.rate, "blocksize": round(STEP_SECONDS * self.rate)}
            try:
                self._open.enter_context(sounddevice.InputStream(**settings))
                return
            except (ValueError, sounddevice.PortAudioError) as error:
                errors.append(error)
        raise AudioError.of(self.name, f"cannot be opened ({reason(errors[0])}); --list-inputs shows what there is")

    @property
    def chunks(self) -> Iterator[np.ndarray]:
        with self._open, suppress(queue.Empty):
            while (samples := self._held.get(timeout=_SILENT_SECONDS)) is not None:
                yield samples
        raise AudioError.of(self.name, f"ended, or gave nothing for {_SILENT_SECONDS:.0f} s")

    def _heard(self, samples: np.ndarray, frames: int, _time: object, status: object) -> None:
        is_full = self._held.qsize() >= _HELD_SECONDS / STEP_SECONDS
        if not is_full:
            self._held.put(samples.copy())
        overflowed = getattr(status, "input_overflow", False)  # the system dropped sound, it does not say how much
        self.dropped_seconds += (is_full + overflowed) * frames / self.rate


if __name__ == "__main__":
    sys.exit(main())
