#!/usr/bin/env bash
# Situations from public bug reports, each made from examples/sample.wav alone; prints what happens. From the root:
#   SER=path/to/venv/bin bash tests/long/open_cases.sh     needs ffmpeg for 45, root for 4 and 45; some minutes
# The suite has the right value of each as a test; the numbers are those of the reports.
export OMP_NUM_THREADS=1 PATH=${SER:-$PWD/.venv/bin}:$PATH; S=$PWD/examples/sample.wav
W=$(mktemp -d); trap 'rm -rf $W' EXIT; cd "$W"; cp "$S" a.wav; c(){ echo; echo "== $*"; }
python - <<'P'
import soundfile as sf, numpy as np, soxr
y, sr = sf.read('a.wav'); z = np.zeros(int(.8 * sr)); call = np.concatenate([y, z, y, z, y, z])
sf.write('call.wav', call, sr); sf.write('anti.wav', np.stack([y, -y], 1), sr); sf.write('c48.wav', soxr.resample(call, sr, 48000), 48000); print('call.wav', round(len(call) / sr, 2), 's')
P
c 1 the output is the input; cp call.wav rec.wav; ser-gpu timeline rec.wav --format json --out rec.wav; echo "rc $?"; head -c 15 rec.wav
c 2 dots in --out; ser-gpu timeline call.wav --format srt,vtt --out talk.1; ser-gpu timeline a.wav --format srt,vtt --out talk.2; ls talk*
c 3 --out of a folder that is not there yet; ser-gpu timeline a.wav --format json --out results/; ls -ld results*
c 4 tried too late; mkdir ro; cp "$(python -c 'from ser_gpu.checkpoint import weights_file as d; print(d())')" ro/m.pth; chmod 555 ro; capsh --drop=cap_dac_override -- -c "ser-gpu timeline call.wav --plot ro/x.png --format json; ser-gpu timeline call.wav --out ro/x.srt" 2>&1 | cut -c1-80 | tail -2
R(){ printf "$1" > x.rttm; ser-gpu timeline call.wav --speakers x.rttm --format csv 2>&1 | cut -d, -f1-5 | grep -v ',0,,$'; }
c 5 a space in the name of an RTTM recording; R 'SPEAKER my call 1 0.0 3.0 <NA> <NA> alice <NA> <NA>\nSPEAKER my call 1 3.0 3.0 <NA> <NA> bob <NA> <NA>\n'
c 8 a start of -0.01; R 'SPEAKER call 1 -0.01 2.5 <NA> <NA> alice <NA> <NA>\nSPEAKER call 1 2.6 2.5 <NA> <NA> bob <NA> <NA>\n'
c 9 milliseconds, then another recording; R 'SPEAKER call 1 0 2500 <NA> <NA> alice <NA> <NA>\nSPEAKER call 1 2600 2500 <NA> <NA> bob <NA> <NA>\n'; R 'SPEAKER other 1 600.0 2.5 <NA> <NA> alice <NA> <NA>\n'
c 10 ids with a suffix; R 'SPEAKER call.wav 1 0.0 2.5 <NA> <NA> alice <NA> <NA>\nSPEAKER b.wav 1 0.0 2.5 <NA> <NA> bob <NA> <NA>\n'
c 11 a turn inside another; python -c "
from ser_gpu.timeline.speakers import Speakers, Turn
print(Speakers([Turn(0, 60, 'alice'), Turn(30, 33, 'bob')]).names)"
c 13 an interval of no length; python - <<'P'
from ser_gpu.timeline.segment import Timeline, spoken, silent
p = {'sad': .9, 'calm': .1}
Timeline('a', 1.0001875, ('sad', 'calm'), (spoken(0, 1.0, p), silent(1.0, 1.0001875))).save('z.TextGrid'); print(open('z.TextGrid').read()[-95:])
P
c 14 VTT is not escaped; python - <<'P'
from ser_gpu.timeline.segment import Timeline, spoken
from ser_gpu.timeline import formats
p = {'<laughter> & joy': .9, 'calm': .1}; print(formats.as_vtt(Timeline('a', 1, tuple(p), (spoken(0, 1, p),))))
P
mkdir fake; cat > fake/sounddevice.py <<'P'
import os, threading, time
import numpy as np
class PortAudioError(Exception): pass
class InputStream:
    def __init__(self, samplerate=None, blocksize=None, callback=None, finished_callback=None, **more):
        if os.environ.get('ONLY48') and samplerate != 48000: raise PortAudioError('Error opening InputStream: Invalid sample rate [PaErrorCode -9997]')
        self.b, self.c, self.f, self.active = blocksize, callback, finished_callback, True
    def __enter__(self):
        def go():
            for _ in range(2): time.sleep(.1); self.c(np.zeros((self.b, 1), 'f4'), self.b, None, None)
            self.active = False
            if self.f: self.f()
        threading.Thread(target=go, daemon=True).start(); return self
    def __exit__(self, *a): pass
P
c 15 17 a microphone of 48 kHz; ONLY48=1 PYTHONPATH=fake ser-gpu live --json; ONLY48=1 PYTHONPATH=fake ser-gpu live --json --rate 48000
c 16 unplugged; PYTHONPATH=fake timeout 60 ser-gpu live --json | wc -l; echo "rc ${PIPESTATUS[0]} (124: waits for ever)"
c 18 a WAV file into live; ser-gpu live - < c48.wav 2>&1 | grep -o '"emotion": "[a-z]*"' | sort | uniq -c
c 18b live at another rate prints a leak report of C++; python -c "import soundfile as sf,sys; y,r=sf.read('call.wav'); sys.stdout.buffer.write((y*32767).astype('<i2').tobytes())" | ser-gpu live - --rate 22050 2>&1 | grep -c leaked
c 20 a child of a process that has predicted; cat > f.py <<'P'
import multiprocessing as mp, ser_gpu, torch
m = ser_gpu.load_model(device='cpu'); torch.set_num_threads(2); m.predict('a.wav'); fork = mp.get_context('fork')
q = fork.Queue(); p = fork.Process(target=lambda: q.put(m.predict('a.wav').emotion)); p.start(); p.join(15)
print('hangs' if p.is_alive() else q.get()); p.kill()
P
env -u OMP_NUM_THREADS python f.py
c 19 pickle of an OnnxModel; ser-gpu export model.onnx > /dev/null 2>&1; python -c "
import pickle; from ser_gpu.onnx import OnnxModel
try: print(len(pickle.dumps(OnnxModel('model.onnx'))))
except Exception as e: print(type(e).__name__, e)"
mk(){ for d in "$@"; do mkdir -p $d; cp a.wav $d/$RANDOM.wav; cp a.wav $d/$RANDOM.wav; done; }
c 25 speaker/emotion folders, then one folder around all; mk n/anna/happy n/anna/angry n/bob/happy n/bob/angry w/dataset/happy w/dataset/angry; python - <<'P'
from ser_gpu import corpora
for d in 'nw': print(d, corpora.load(d).description)
P
c 24 predict on a folder; mkdir -p hp/.Trash hp/__MACOSX; cp a.wav hp/; cp a.wav hp/.Trash/old.wav; cp a.wav hp/__MACOSX/x.wav; ser-gpu predict --json hp | cut -c1-30
c 27 28 29 30 lists; cp a.wav b.wav; python - <<'P'
import os
from ser_gpu import corpora
def t(text, enc='utf-8'):
    open('m.csv', 'wb').write(text.encode(enc))
    try: print(corpora.load('m.csv').description)
    except Exception as e: print('error:', e)
t('file,emotion,start,end\na.wav,happy,0,1\nb.wav,angry,0,1\n')
t('file,emotion,start,end\na.wav,happy,0,1\na.wav,angry,1,2\n')
t('file,emotion,part\na.wav,happy,train\nb.wav,angry,train\n./../%s/a.wav,angry,test\n' % os.path.basename(os.getcwd()))
t('sep=;\nfile;emotion\na.wav;happy\nb.wav;angry\n'); t('file,emotion\na.wav,happy\n', 'utf-16')
t('file,emotion,speaker_id\na.wav,happy,1\nb.wav,angry,2\n')
P
c 32 silent and 30 ms clips are trained on; python - <<'P'
import os, soundfile as sf
y, r = sf.read('a.wav')
for e in ('happy', 'angry'):
    os.makedirs(f's/{e}', exist_ok=True)
    for k in range(4): sf.write(f's/{e}/{k}.wav', y, r)
sf.write('s/happy/4.wav', 0 * y, r); sf.write('s/angry/4.wav', y[:int(.03 * r)], r)
P
ser-gpu train --data s --epochs 1 --out so --device cpu 2>&1 | grep -i "note\|left out\|silen\|short"
c 34 a stale WORLD_SIZE; WORLD_SIZE=2 RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=29555 timeout 60 ser-gpu train --data s --epochs 1 --out r3 --device cpu; echo "rc $? (124: waits, and says nothing)"
c 38 a pattern that the shell did not expand; ser-gpu predict '*.wav'
c 41 one channel inverted; ser-gpu predict --top 1 a.wav anti.wav
c 43 one recording for predict_many; python -c "
import ser_gpu; m = ser_gpu.load_model(device='cpu')
print([str(r) for r in m.predict_many('a.wav')][:2])"
c 45 no /dev/stdin, as on Windows; ffmpeg -v error -y -i a.wav -c:a aac p.m4a < /dev/null; unshare -m bash -c "mkdir dev; mount -t tmpfs none dev; cp -a /dev/null /dev/urandom dev/; mount --bind dev /dev; ser-gpu predict p.m4a"
c 50 a small own data set stays at chance; python - <<'P'
import os, numpy as np, soundfile as sf
rng = np.random.default_rng(0); y, r = sf.read('a.wav')
for e, k in (('happy', 1.3), ('angry', 0.8)):
    os.makedirs(f'o/{e}', exist_ok=True)
    for n in range(24): t = np.arange(0, len(y), k * rng.uniform(.97, 1.03)); sf.write(f'o/{e}/{n}.wav', np.interp(t, np.arange(len(y)), y), r)
P
ser-gpu train --data o --epochs 30 --out oo --device cpu 2>&1 | grep -E "│ (accuracy|UAR) "
