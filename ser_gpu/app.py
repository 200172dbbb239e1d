"""ser-gpu app: a page that names emotions in the browser, served on this machine or written for a static host."""

import argparse
import gzip
import sys
from collections.abc import Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from ser_gpu.cli import console, options
from ser_gpu.errors import check
from ser_gpu.exports import page


class Handler(SimpleHTTPRequestHandler):
    """Serve a folder, compressed; log no request."""

    # whatever the system's own table says
    extensions_map = dict.fromkeys((".js", ".mjs"), "text/javascript") | {".wasm": "application/wasm"}

    def send_head(self) -> BinaryIO | None:
        path = Path(self.translate_path(self.path))
        takes_gzip = "gzip" in self.headers.get("Accept-Encoding", "")
        if not (takes_gzip and path.is_file()) or "If-Modified-Since" in self.headers:
            return super().send_head()
        content = _compressed(path, path.stat().st_mtime_ns)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        return BytesIO(content)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Vary", "Accept-Encoding")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@lru_cache
def _compressed(path: Path, changed_ns: int) -> bytes:
    return gzip.compress(path.read_bytes(), 4)  # 9 takes a second longer, for a twentieth less


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server on localhost; port 0 takes a free one. Raises OSError where the port is not free."""
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(f"--port {port}: {reason}; another --port, such as 0, may be free") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, write the page, and serve it."""
    about = "A page that names the emotion of a voice in the browser; no audio leaves it."
    parser = options.Parser(prog="ser-gpu app", description=about)
    add = parser.add_argument
    add("--weights", metavar="NAME|FILE", help=f"{options.SHIPPED} a checkpoint")
    add("--port", type=int, default=8_000, help="port on localhost, 0 for a free one (default: %(default)s)")
    add("--out", metavar="DIR", help="write the page for any static host instead of serving it")
    add("--tta", action=argparse.BooleanOptionalAction, default=True, help=options.TTA)
    return options.run(lambda: run(parser.parse_args(arguments)))


def run(args: argparse.Namespace) -> int:
    """Write the page; without --out serve it until Ctrl-C."""
    check(0 <= args.port < 2**16, f"--port must be between 0 and 65535, got {args.port}")
    if args.out:
        source = page.files()
        written = [Path(args.out, name) for name in (*source, *page.MODEL_FILES, "model.json")]
        options.require_free({"--out": written}, [args.weights, *source.values()])
    with console.err.status("Exporting the model"):
        folder = page.build(args.out or page.site_folder(), args.weights, args.tta)
    if args.out:
        console.err.print(f"written: {folder}; serve it from localhost or https")
        return options.DONE
    with server(folder, args.port) as served:
        print(f"http://localhost:{served.server_port}/ (Ctrl-C ends it)", flush=True)
        served.serve_forever()
    return options.DONE


if __name__ == "__main__":
    sys.exit(main())
