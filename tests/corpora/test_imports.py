import subprocess
import sys

LIST_IMPORTS = """
import sys
import ser_gpu
before = set(sys.modules)
import ser_gpu.corpora, ser_gpu.corpora.manifest, ser_gpu.corpora.splits
for name in ser_gpu.corpora.names():
    ser_gpu.corpora.get(name)
heavy = {"torch", "torchaudio", "numpy", "sklearn", "soundfile", "pooch", "requests", "filelock"}
print(sorted(heavy & {name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def test_corpora_import_nothing_heavy():
    answer = subprocess.run([sys.executable, "-c", LIST_IMPORTS], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
