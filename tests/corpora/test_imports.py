import subprocess
import sys

WATCH = """
import sys
import ser_gpu
before, opened = set(sys.modules), []
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
{}
heavy = {{"torch", "torchaudio", "numpy", "sklearn", "soundfile", "pooch", "requests", "filelock"}}
loaded = set(sys.modules) - before
print(sorted(heavy & {{name.partition(".")[0] for name in loaded}}))
print([path for path in opened if not path.endswith((".py", ".pyc"))])
print(*sorted(name for name in loaded if name.startswith("ser_gpu.corpora")))
"""


def imported(code):
    return subprocess.check_output(
        [sys.executable, "-B", "-c", WATCH.format(code)], stderr=subprocess.STDOUT, text=True
    ).splitlines()


def test_corpora_import_nothing_heavy_and_read_nothing():
    code = "import ser_gpu.corpora.find, ser_gpu.corpora.manifest, ser_gpu.corpora.splits; ser_gpu.corpora.names()"
    assert imported(code)[:2] == ["[]", "[]"]
    assert imported("import ser_gpu.corpora.clip") == ["[]", "[]", "ser_gpu.corpora ser_gpu.corpora.clip"]
    loaded = [f"ser_gpu.corpora{name}" for name in ("", ".clip", ".known", ".ravdess", ".splits")]
    assert imported("import ser_gpu.corpora.splits") == ["[]", "[]", " ".join(loaded)]
