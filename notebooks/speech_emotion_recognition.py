# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How a voice becomes an emotion
#
# Say "Kids are talking by the door" calmly, then angrily. The words are the same. Loudness, pitch, tempo and the
# frequencies that carry the energy are not. This notebook follows that difference from the microphone to a neural
# network that names the emotion. It takes about twenty minutes to read. It answers an assignment: section 13
# lists each line of the assignment, with the section and the result that answer it.
#
# 1. The data
# 2. Cleaning
# 3. What emotion looks like
# 4. From waveform to log-mel spectrogram
# 5. Augmentation
# 6. The network
# 7. Training
# 8. Results
# 9. Pitch bias
# 10. Calibration and occlusion
# 11. Try it
# 12. Your own voice
# 13. The assignment, line by line
# 14. References
#
# Every number and every title below is computed, either from the recordings or from results that the commands of this
# repository wrote. No training is repeated here: weights, histories and results are loaded.

# %%
# %matplotlib inline
import csv
import json
import os
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from IPython.display import Markdown

matplotlib.rcParams["figure.dpi"] = 88
REPOSITORY = Path("..")
RESULTS = Path(os.environ.get("SER_GPU_RESULTS", REPOSITORY))  # the folder that holds weights/ and experiments/results/
sys.path.insert(0, str(REPOSITORY))

import ser_gpu
from experiments import acoustics, arousal_valence, dataset_statistics, figures, markdown, pitch
from ser_gpu import checkpoint, corpora
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.audio.samples import load
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.corpora.splits import Protocol
from ser_gpu.evaluation import figures as evaluation_figures
from ser_gpu.evaluation import predictions


def result(name):
    return json.loads((RESULTS / name).read_text())


def table(rows, below=""):
    return Markdown(markdown.table(rows) + f"\n\n{below}")


torch.manual_seed(0)
model = ser_gpu.load_model(RESULTS / "weights/ser_ravdess.pth", device="cpu")
rate = model.sample_rate
Markdown(f"ser_gpu {ser_gpu.__version__}, torch {torch.__version__}; the model works at {rate:,} samples a second")

# %% [markdown]
# ## 1. The data
#
# RAVDESS (Livingstone and Russo 2018) is a set of studio recordings. Professional actors, as many women as men, speak
# two sentences in eight emotions, at normal and at strong intensity, each twice. Neutral has no strong form, so there
# is half as much of it. All else is balanced: a model cannot win by guessing the most frequent emotion. Each emotion
# has one colour, here and in all figures.

# %%
clips = corpora.load(corpus="ravdess").clips
labels = np.array([EMOTIONS.index(clip.emotion) for clip in clips])
speakers = np.array([clip.speaker for clip in clips])
rarest = EMOTIONS[np.bincount(labels).argmin()]
title = f"{len(clips):,} clips by {len(set(speakers))} speakers: the rarest emotion is {rarest}"
figures.counts(clips, EMOTIONS, title)

# %% [markdown]
# How long are they, and how loud? The level below is that of the speech alone, on the recordings as they are. It tells
# the emotion well. We do not use it: on a phone it shows how near the microphone is, not how somebody feels. So every
# clip is scaled to the same peak before the network gets it.

# %%
recordings = dataset_statistics.read(clips)
seconds = np.array([each.seconds for each in recordings])
level = np.array([each.level_db for each in recordings])
loudness = [np.median(level[labels == emotion]) for emotion in range(8)]
loudest, softest = EMOTIONS[np.argmax(loudness)], EMOTIONS[np.argmin(loudness)]
figures.distributions(
    {"length of the recording (s)": seconds, "level of the speech (dB re full scale)": level},
    labels,
    EMOTIONS,
    f"{loudest.capitalize()} is the loudest emotion and {softest} the softest, {np.ptp(loudness):.0f} dB apart",
)

# %% [markdown]
# ### What to check in a data set
#
# Every real data set has oddities. Look for them before you train.

# %%
found = {
    "sample rates": [f"{hertz:,} Hz" for hertz in {each.sample_rate for each in recordings}],
    "stereo files": [clip.id for clip, each in zip(clips, recordings) if each.channels > 1],
    "files with the same samples": [" = ".join(ids) for ids in dataset_statistics.identical(clips, recordings)],
    "repetition groups": [f"{len({clip.group for clip in clips}):,}"],
}
table([{"what": what, "found": "<br>".join(which) or "none"} for what, which in found.items()])

# %% [markdown]
# Stereo files are averaged to one channel. The repetitions are a problem for testing. An actor says the same sentence
# in the same emotion and intensity twice: such clips form a *repetition group*. If one of the two is in training and
# the other in the test, the model has almost heard the test clip. How alike are they? Below are all pairs of clips of
# the same sentence, with the distance between their spectrograms (section 4 says how a spectrogram is made).

# %%
bank = ClipBank.read([clip.path for clip in clips], rate)
with torch.inference_mode():
    parts = torch.arange(len(clips)).split(64)
    windows = torch.cat([model.window(*bank.batch(part)) for part in parts])
    spectrograms = torch.cat([model.mel(windows[part])[:, 0] for part in parts])
apart = acoustics.distances_by_relation(spectrograms, clips)
medians = {name: np.median(values) for name, values in apart.items()}
nearest = min(medians, key=medians.get).split(":")[0].replace("\n", " ")
figures.distances(apart, f"{nearest.capitalize()} are the closest clips; median distance {min(medians.values()):.2f}")

# %% [markdown]
# So it matters how the clips are split into training, validation and test. Three ways, from easy to hard:
#
# - `stratified`: 80/10/10 at random, every emotion in its proportion. Simple and common.
# - `grouped`: the same, but repetitions stay on one side.
# - `actors5` and `actors6`: speaker-independent. The test speakers are in no other part.

# %%
rows = []
for protocol in ("stratified", "grouped", "actors5", "actors6"):
    split = Protocol(protocol).split(clips)
    test = len(split.ids("test"))
    speaker = len(dataset_statistics.with_speaker_in_training(clips, split)) / test
    repetition = len(dataset_statistics.with_repetition_in_training(clips, split)) / test
    shares = {"speaker in training": speaker, "repetition in training": repetition}
    known = {what: f"{share:.0%}" if share else "none" for what, share in shares.items()}
    rows.append({"protocol": protocol, "test clips": test, **known})
table(rows, "How many of the test clips have their speaker, or a repetition, in training.")

# %% [markdown]
# The assignment asks for the first one: 80% of the clips to train on, 10% to validate, 10% to test, with every emotion
# in its proportion. Here is one of its five splits.

# %%
split = Protocol("stratified").split(clips)
parts_of = np.array([split.part_of[clip.id] for clip in clips])
rows = []
for name, own in [*((name, labels == i) for i, name in enumerate(EMOTIONS)), ("**all**", labels >= 0)]:
    count = {part: int((own & (parts_of == part)).sum()) for part in ("train", "validation", "test")}
    shares = " / ".join(f"{each / own.sum():.0%}" for each in count.values())
    rows.append({"emotion": name, "clips": int(own.sum()), **count, "shares": shares})
table(rows)

# %% [markdown]
# ## 2. Cleaning
#
# Each recording begins and ends with silence. It says nothing about the emotion, and a network could learn from it
# which actor waited how long. A frame counts as silent if its level lies a fixed number of decibels below the loudest
# frame of the same clip. What comes before the first and after the last frame with sound is cut. The rest is centred in
# a window of fixed length, because the network needs spectrograms of one size.


# %%
def find(emotion, speaker, statement="1"):
    """The clip of an emotion by one speaker: first repetition, strong where there is a strong one."""
    wanted = (emotion, speaker, statement)
    takes = [i for i, clip in enumerate(clips) if (clip.emotion, clip.speaker, clip.get("statement")) == wanted]
    return max(takes, key=lambda i: (clips[i].get("intensity") == "strong", clips[i].get("repetition") == "1"))


first = find("sad", speakers[0])
found = [model.trim.bounds(*bank.batch(part)) for part in parts]
start, end = (torch.cat(bounds).numpy() for bounds in zip(*found))
raw = bank.waveform(first).numpy()
trim = model.config.trim
bounds = (start[first], end[first])
figures.trimming(raw, bounds, windows[first].numpy(), rate, trim.top_db, trim.frame_length, trim.hop)

# %% [markdown]
# How much of the corpus is silence? A large part, and not the same for every emotion.

# %%
spoken = (end - start) / rate
silent = 100 * (1 - spoken / (bank.lengths.numpy() / rate))
medians = [np.median(silent[labels == emotion]) for emotion in range(8)]
most, least = EMOTIONS[np.argmax(medians)], EMOTIONS[np.argmin(medians)]
figures.distributions(
    {"silence at both ends (% of the clip)": silent, "speech that is left (s)": spoken},
    labels,
    EMOTIONS,
    f"{silent.mean():.0f}% of the corpus is silence: most in {most}, least in {least}",
)

# %% [markdown]
# ## 3. What emotion looks like
#
# Below are one speaker and one sentence, sad and angry. Time runs to the right, frequency upwards. Brightness is energy
# in decibels below the clip's own peak, on one scale for both. Look for three things: how high the bright region
# reaches, how far apart the horizontal stripes are (they are the harmonics of the voice: the wider apart, the higher
# the pitch), and how dark it is between the syllables.

# %% tags=["figure:angry-against-sad"]
mel = model.config.mel
hertz = acoustics.band_centres(mel.n_mels, mel.f_min, mel.f_max)
window_seconds = model.config.audio.clip_seconds
with torch.inference_mode():
    speaker = speakers[0]
    shown = {name: model.mel.decibels(windows[[find(name, speaker)]])[0, 0].numpy() for name in EMOTIONS}
pair = {name: shown[name] for name in ("sad", "angry")}
bright = {name: (spectrogram[hertz > 2000] > -40).mean() for name, spectrogram in pair.items()}
title = "Bright (within 40 dB of the peak) above 2 kHz: {angry:.0%} of angry, {sad:.0%} of sad".format(**bright)
figures.spectrograms(pair, window_seconds, hertz, title)

# %% [markdown]
# One clip proves little. The next figure averages over all clips of all speakers. For each speaker and band we take the
# mean level of the angry clips minus that of the sad clips. The line is the mean of these differences, the shaded band
# its 95% confidence interval over speakers. Levels are relative to the whole clip, so loudness does not count: the
# figure shows which *share* of the energy lies at which frequency.

# %%
with torch.inference_mode():
    bands = torch.cat([acoustics.band_levels(model.mel.power(windows[part])) for part in parts]).numpy()
    shares = torch.cat([acoustics.spectrum_shares(windows[part]) for part in parts])
angry, sad = (labels == EMOTIONS.index(name) for name in ("angry", "sad"))
difference = acoustics.difference(bands, angry, sad, speakers)
figures.band_difference(hertz, difference, "angry", "sad", len(set(speakers)))

# %% [markdown]
# Now five numbers for each clip, and how each emotion differs from the speaker's own mean:
#
# - the **energy above 2 kHz**, in decibels relative to the whole clip;
# - the **spectral centroid**, the mean frequency weighted by energy;
# - the **pitch**, the rate at which the vocal folds open and close, and its **range**, the spread within the clip (both
#   in semitones, tracked by pYIN of librosa);
# - the **tempo**, in syllables a second: both sentences have seven syllables.

# %%
pitches = pitch.read(RESULTS / "experiments/results/pitch.csv")
median_pitch, pitch_range = pitch.in_semitones(pitches, [clip.id for clip in clips])
measured = {
    "energy above 2 kHz (dB)": acoustics.energy_above(shares, rate, 2000).numpy(),
    "centroid (Hz)": acoustics.centroid(shares, rate).numpy(),
    "pitch (semitones)": median_pitch,
    "pitch range (semitones)": pitch_range,
    "tempo (syllables/s)": acoustics.syllables_per_second(spoken),
}
profile = {name: acoustics.deviations(values, labels, speakers, len(EMOTIONS)) for name, values in measured.items()}
order = [EMOTIONS[i] for i in np.argsort(-profile["pitch (semitones)"].mean)]
title = f"Minus the speaker's own mean: {order[0]} has the highest pitch and {order[-1]} the lowest"
figures.acoustic_profile(profile, EMOTIONS, title)

# %% [markdown]
# Angry against sad, in three sentences:

# %%
gaps_of = {name: acoustics.difference(values, angry, sad, speakers) for name, values in measured.items()}
energy, higher, tempo = (
    gaps_of[name] for name in ("energy above 2 kHz (dB)", "pitch (semitones)", "tempo (syllables/s)")
)
said = "that tells the two apart, too" if tempo.low * tempo.high > 0 else "that does not tell the two apart"
Markdown(
    "In the mean over speakers, from sad to angry:\n\n"
    f"1. The energy above 2 kHz changes by **{energy.mean:+.1f} dB** (95%: {energy.low:+.1f} to {energy.high:+.1f}): "
    "the bright region of the spectrogram reaches higher.\n"
    f"2. The pitch changes by **{higher.mean:+.1f} semitones** (95%: {higher.low:+.1f} to {higher.high:+.1f}): "
    "the harmonics lie further apart.\n"
    f"3. The tempo changes by **{tempo.mean:+.2f} syllables a second** (95%: {tempo.low:+.2f} to {tempo.high:+.2f}): "
    f"{said}."
)

# %% [markdown]
# Psychologists order emotions on two axes (Russell 1980): *valence*, pleasant or unpleasant, and *arousal*, low or high
# activation of the body. Anger, fear, joy and surprise have high arousal; sadness, calm and a neutral state have low
# arousal.

# %%
arousal = np.array([arousal_valence.AROUSAL.get(EMOTIONS[label]) for label in labels])
high, low = arousal == "high", arousal == "low"
means = {name: acoustics.speaker_means(bands, members, speakers) for name, members in (("high", high), ("low", low))}
groups = {f"{name} arousal": acoustics.over_speakers(values) for name, values in means.items()}
gap = acoustics.difference(measured["energy above 2 kHz (dB)"], high, low, speakers)
title = f"Energy above 2 kHz: {gap.mean:+.1f} dB with high arousal (95%: {gap.low:+.1f} to {gap.high:+.1f})"
figures.spectra(hertz, groups, title)

# %% [markdown]
# Why? With high arousal we breathe harder and the larynx is tense. The vocal folds then close faster, and a faster
# closure makes stronger high harmonics. Tense folds also vibrate faster, so the pitch rises with the energy.
#
# So a spectrogram should show arousal well and valence badly: joy and anger both have high arousal. Section 8 asks
# whether the errors of the model agree. Here are all eight emotions, same speaker, same sentence.

# %%
above = dict(zip(EMOTIONS, profile["energy above 2 kHz (dB)"].mean))
bright, dark = max(above, key=above.get), min(above, key=above.get)
title = f"Over all speakers {bright} has the most energy above 2 kHz and {dark} the least; this is speaker {speaker}"
figures.spectrograms(shown, window_seconds, hertz, title, columns=4)

# %% [markdown]
# ## 4. From waveform to log-mel spectrogram
#
# A recording is a list of pressures, thousands a second. For a spectrogram, cut it into short overlapping frames,
# measure the power at each frequency of each frame (the Fourier transform), and add up neighbouring frequencies into
# bands. Two choices come from human hearing:
#
# - **the mel scale.** From 200 to 300 Hz is a large step to the ear, from 7,200 to 7,300 Hz a very small one. So bands
#   are narrow below 1 kHz and grow wider above. There are several mel scales; this one is Slaney's, as in librosa: a
#   straight line up to 1 kHz, a logarithm above.
# - **the logarithm.** Ten times the power sounds about twice as loud, at any level. In plain power a few cells are far
#   larger than all others; in decibels the quiet detail is visible, to us and to the network.

# %%
from ser_gpu.stages.mel import LogMel, nnaudio_kernels

one = windows[[find("angry", speaker)]]
_, basis = nnaudio_kernels(mel, rate)
power, decibels = model.mel.power(one)[0].numpy(), model.mel.decibels(one)[0, 0].numpy()
figures.from_wave_to_mel(power, basis.numpy(), decibels, hertz, window_seconds)

# %% [markdown]
# The layer is nnAudio's: its kernels are sines, cosines and triangles, applied as a convolution on the GPU. `LogMel`
# applies the same kernels by a convolution or by a Fourier transform, whichever is faster on the machine. Both must
# agree with librosa, the usual reference:

# %%
import librosa

power = librosa.feature.melspectrogram(
    y=one[0].numpy(), sr=rate, n_fft=mel.n_fft, hop_length=mel.hop, n_mels=mel.n_mels, fmin=mel.f_min, fmax=mel.f_max
)
reference = librosa.power_to_db(power, ref=np.max, top_db=mel.top_db)
rows = []
for backend in ("conv", "fft"):
    layer = LogMel(type(mel)(**{**vars(mel), "backend": backend, "trainable": False}), rate)
    difference = np.abs(layer.decibels(one)[0, 0].numpy() - reference).max()
    rows.append({"backend": backend, "largest difference from librosa (dB)": f"{difference:.0e}"})
table(rows)

# %% [markdown]
# Last, each spectrogram is normalised to mean zero and variance one, so the input of the network does not depend on the
# level of the recording. Recordings of many lengths have now become inputs of one shape:

# %%
with torch.inference_mode():
    logits = model.classify(spectrograms[:1, None], 1)
rows = [
    {"stage": name, "shape of a clip": f"[{min(each):,}] to [{max(each):,}]", "different shapes": f"{len(set(each)):,}"}
    for name, each in (("recording", bank.lengths.tolist()), ("without silence", (end - start).tolist()))
]
for name, each in {"padded window": windows, "log-mel spectrogram": spectrograms[:, None], "answer": logits}.items():
    rows.append({"stage": name, "shape of a clip": list(each.shape[1:]), "different shapes": 1})
table(rows, f"Of {len(clips):,} clips. In samples; then channel, mel bands and frames; then emotions.")

# %% [markdown]
# ## 5. Augmentation
#
# The data set is small, and a large network could memorise it. So each training step changes every clip at random:
# noise, pitch, tempo, position in time, gain of bands, and masks that hide parts of the spectrogram. The label stays,
# so the network has to learn what does not change. *Noise injection*, *pitch shifting* and *time stretching* are those
# of the assignment. The table shows which share of the clips gets each change:

# %%
from dataclasses import replace

from ser_gpu.model import SpeechEmotionModel

a = model.config.augment
chances = {name: getattr(a, name) for name in vars(a) if name.endswith("_probability")}
off = replace(a, **dict.fromkeys(chances, 0.0), band_masks=0, frame_masks=0)


def in_training(**settings):
    """The clip after the training stages of a model that augments with these settings alone, in decibels."""
    stages = SpeechEmotionModel(replace(model.config, augment=replace(off, **settings))).train()
    decibels = stages.decibels(one)
    hidden = stages.mask(stages.mel.normalised(decibels)) == 0
    return decibels.masked_fill(hidden, decibels.min())[0, 0].numpy()


shares = {name.removesuffix("_probability"): share for name, share in chances.items() if share}
shares["masks"] = float(a.band_masks + a.frame_masks > 0)
table([{"augmentation": name, "share of the clips": f"{share:.0%}"} for name, share in shares.items()])

# %% [markdown]
# Here is one clip at the ends of these ranges; most clips of a training are changed less.

# %%
torch.manual_seed(1)
still, move, stay = model.mel.decibels(one), model.warp.move, torch.zeros(1)
high, slow, fast = (torch.tensor([ratio]) for ratio in (2 ** (a.pitch_semitones / 12), a.min_stretch, a.max_stretch))
augmented = {
    "as recorded": still[0, 0].numpy(),
    f"pitch shifting, {-a.pitch_semitones:g} semitones": move.bands(still, 1 / high)[0, 0].numpy(),
    f"pitch shifting, {a.pitch_semitones:+g} semitones": move.bands(still, high)[0, 0].numpy(),
    f"noise injection, {a.min_snr_db:.0f} dB": in_training(noise_probability=1.0, max_snr_db=a.min_snr_db),
    f"time stretching, tempo x {a.min_stretch}": move.frames(still, slow, stay)[0, 0].numpy(),
    f"time stretching, tempo x {a.max_stretch}": move.frames(still, fast, stay)[0, 0].numpy(),
    "gain of bands": in_training(band_gain_probability=1.0),
    "masks": in_training(band_masks=a.band_masks, frame_masks=a.frame_masks),
    "all, as drawn": in_training(**vars(a)),
}
change = np.abs(augmented["all, as drawn"] - augmented["as recorded"]).mean()
title = f"All together change a cell of the spectrogram by {change:.0f} dB on average"
figures.spectrograms(augmented, window_seconds, hertz, title, columns=3)

# %% [markdown]
# Validation and test clips are not changed in this way: they measure how the model does on real recordings. In the
# code, every such module is the identity unless the model is in training mode.
#
# ## 6. The network
#
# A small residual network classifies the spectrogram as an image. Each block has a pooling that halves the resolution,
# two convolutions (Conv2D) with batch normalisation (BatchNorm) that double the number of channels, and a shortcut
# around them. At the end come global average pooling and dropout. The *receptive field* is the part of the spectrogram
# that one cell of a layer's output depends on.
#
# A model can be an ensemble: several such networks, which start from different weights, and whose mean is the answer.
# And it uses *test-time augmentation*: each clip is classified as it is, and with slightly changed pitch and tempo; the
# answer is the mean again.

# %%
from experiments import receptive_field

rows = [
    {
        "layer": layer.name,
        "kind": layer.kind,
        "output": " x ".join(map(str, layer.shape)),
        "parameters": f"{layer.parameters:,}",
        "receptive field": f"{bands} bands x {frames} frames ({frames * mel.hop / rate:.2f} s)",
    }
    for layer in receptive_field.layers(model)
    for bands, frames in [layer.receptive_field]
]
weights = sum(p.numel() for p in model.parameters())
below = "Output: channels x bands x frames of one clip. A ReLU follows the stem and both convolutions of a block. "
table(rows, f"{below}Networks in the ensemble: **{model.config.cnn.members}**, together {weights:,} parameters.")

# %% [markdown]
# The pooling before the last layer is a choice. *Flatten* gives the classifier a weight for every cell of the last
# feature maps: it can learn *when* something sounds, which may hold for the training clips only. *Global average
# pooling* (GAP) measures how much of each feature there is, wherever it is. The figure is an ablation: these and other
# changes of the recipe, trained on the same folds and scored on validation speakers. To afford so many trainings, they
# are short, of one network each, and few for each change: look at the large differences. What needs a long training to
# help looks small here.

# %%
variants = result("experiments/results/ablation.json")["variants"]
recipe, *changes = variants
changes = sorted((row for row in changes if row["difference"] is not None), key=lambda row: row["difference"])
worst = f"; {changes[0]['name']} changes it by {100 * changes[0]['difference']:+.1f} points" if changes else ""
title = f"Trained so briefly, the recipe has a UAR of {recipe['validation']['uar']:.3f}{worst}"
figures.ablation(variants, title)

# %%
heads = [row for row in variants if row is recipe or any("cnn.head" in each for each in row["settings"])]
rows = [
    {
        "pooling": "GAP" if row is recipe else row["name"],
        "trainings": row["runs"],
        "parameters": f"{row['parameters']:,}",
        "validation UAR": f"{row['validation']['uar']:.3f}",
        "difference (points)": f"{100 * row['difference']:+.1f}",
    }
    for row in heads
]
table(rows)

# %% [markdown]
# ## 7. Training
#
# A training passes all clips of the training part through the network, epoch after epoch, and changes its weights to
# lower the cross-entropy. The validation part changes no weight: it shows whether the network learns something general.
# Below are the histories of two models that come with this repository: for one all speakers are in training, for
# the other some were held out. UAR is the unweighted average recall: the mean over emotions of the share recognised.


# %%
def history(name):
    with (RESULTS / f"weights/{name}.metrics.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


shipped = {
    name: checkpoint.load(RESULTS / f"weights/{name}.pth", "cpu") for name in ("ser_ravdess", "ser_ravdess_actors")
}


def curves(name):
    rows, protocol = history(name), Protocol.from_dict(shipped[name][1].protocol)
    who = "new speakers" if protocol.speaker_independent else "speakers of the training"
    end = f"{len(rows)} epochs end at a UAR of {rows[-1]['validation_uar']:.3f} on {who}"
    return evaluation_figures.training_curves(rows, f"{protocol.name}, fold {protocol.fold}: {end}")


curves("ser_ravdess")

# %%
curves("ser_ravdess_actors")

# %% [markdown]
# Two things may surprise. First, the validation is flat in the first epochs, while the training loss already falls.
# What is validated is not the network that is trained but the *moving average* of its weights, and at first that is
# still the random network from which the training started. (In newer trainings the average warms up.)

# %%
flat = {}
for name in shipped:
    learnt = [row["validation_uar"] > 1.25 / len(EMOTIONS) for row in history(name)]
    flat[name] = learnt.index(True) if any(learnt) else len(learnt)
Markdown("Epochs at chance: " + "; ".join(f"{count} of {name}" for name, count in flat.items()) + ".")

# %% [markdown]
# Second, the two losses do not measure the same thing. Training clips are augmented and mixed, and their labels are
# smoothed, so their loss cannot come near zero; validation clips are clean. With augmentation, a training loss above
# the validation loss is normal.
#
# What do augmentation, dropout and global average pooling do against *overfitting*, the memorising of the training
# clips? Here one small network is trained with all three, without each of them, and without any: on coarse
# spectrograms, with clips of one of the two sentences, for few epochs. `python -m experiments.overfitting` trained them
# and wrote `experiments/results/overfitting.json`. Both curves are of clips as they were recorded.

# %%
small = result("experiments/results/overfitting.json")
gaps = {row["name"]: 100 * (row["train_accuracy"][-1] - row["validation_accuracy"][-1]) for row in small["variants"]}
with_all, *_, without = gaps.values()
title = f"More right in training than on new speakers: {with_all:.0f} points with all three, {without:.0f} without any"
figures.overfitting(small["variants"], title)

# %%
rows = [
    {
        "small network": row["name"],
        "parameters": f"{row['parameters']:,}",
        "right in training": f"{row['train_accuracy'][-1]:.0%}",
        "right on new speakers": f"{row['validation_accuracy'][-1]:.0%}",
        "overfitting (points)": f"{gaps[row['name']]:.0f}",
    }
    for row in small["variants"]
]
clips_of = small["variants"][0]["clips"]
folds = " and ".join(map(str, small["folds"]))
below = f"{small['epochs']} epochs; means over folds {folds} of {small['protocol']}, each with {clips_of['train']} "
below += f"clips to train on and {clips_of['validation']} of new speakers to validate."
table(rows, below)

# %% [markdown]
# The gap between the two curves is overfitting. So short a training shows the gap, not the best accuracy: augmentation
# makes the task harder, and pays only in long trainings (experiments/README.md compares short and long ones).
#
# ## 8. Results
#
# First the protocols side by side. Every point is one training. Its test part was scored once, at the end. But the
# settings of the recipe were chosen on validation clips of ten speakers, and each of these ten is a test speaker of
# another fold. So there is also the score of the other fourteen, on whom nothing was chosen.

# %%
stored = RESULTS / "weights/crossvalidation"
measured_on = [name for name in ("stratified", "grouped", "actors5", "actors6") if (stored / f"{name}.json").exists()]
tables = {name: result(f"weights/crossvalidation/{name}.json") for name in measured_on}
means = {name: each["summary"]["test"]["uar"]["mean"] for name, each in tables.items()}
title = "UAR: {stratified:.3f} stratified, {grouped:.3f} grouped, {actors5:.3f} speaker-independent".format(**means)
figures.protocols(tables, len(EMOTIONS), title)


# %%
def cell(summary):
    seeds, folds = (f"{summary[key]:.3f}" if summary[key] is not None else "-" for key in ("sd_seeds", "sd_folds"))
    return f"{summary['mean']:.3f} ({seeds}; {folds})"


answers = {name: predictions.read(stored / f"{name}.predictions.csv.gz") for name in measured_on}
reports = {name: each.report(by_speaker=True) for name, each in answers.items()}
rows = []
for name, each in tables.items():
    metrics = {"accuracy": "accuracy", "UAR": "uar", "macro F1": "macro_f1"}
    scores = {label: cell(each["summary"]["test"][metric]) for label, metric in metrics.items()}
    low, high = reports[name]["interval95"]["uar"]
    interval = {"95% interval of the UAR": f"{low:.3f} to {high:.3f}"}
    bfloat16 = {"in bfloat16": sum(row["bfloat16"] for row in each["rows"])}
    rows.append({"protocol": name, "trainings": each["runs"], **scores, **interval, **bfloat16})
below = "Mean over trainings (standard deviation over seeds; over folds). Intervals resample speakers. "
table(rows, f"{below}Trainings that are not in bfloat16 are in float32; this may change a score by a point.")

# %%
from itertools import chain

from ser_gpu.corpora.ravdess import ACTORS5_VALIDATION
from ser_gpu.evaluation import metrics

tested_on = np.array([int(clip.speaker) for clip in answers["actors5"].clips])
chosen_on = np.isin(tested_on, [*chain(*ACTORS5_VALIDATION)])
rows = []
for name, own in (("on whom settings were chosen", chosen_on), ("the others", ~chosen_on)):
    if own.any():
        score = metrics.headline(answers["actors5"].truth[own], answers["actors5"].predicted[own])["uar"]
        rows.append({"test speakers of actors5": name, "speakers": len(set(tested_on[own])), "UAR": f"{score:.3f}"})
table(rows)

# %% [markdown]
# The network and the recipe are the same in each row; only the split differs. One setting depends on it, and was chosen
# on validation clips: 120 epochs where the speakers are in training, 60 where they are not. What the longer training
# learns is mostly the repetitions, so it helps in the first row and hardly in the others. Here are the stratified test
# clips with and without a repetition in training:

# %%
splits = {fold: Protocol("stratified", fold).split(clips) for fold in set(answers["stratified"].folds.tolist())}
repeated = {fold: dataset_statistics.with_repetition_in_training(clips, split) for fold, split in splits.items()}
accuracies = dataset_statistics.accuracy_of(answers["stratified"], repeated)
which = ("repetition in training", "no repetition in training")
table([{"test clips": name, "accuracy": f"{value:.3f}"} for name, value in zip(which, accuracies)])

# %% [markdown]
# So before you compare two numbers from the literature, compare their protocols.
#
# Now the confusion matrices, all test answers together. A row is the acted emotion, a column the predicted one.


# %%
def confusion(name, who):
    report = reports[name]
    pair = report["most_confused"][0]
    error = f"{pair['share']:.0%} of {pair['acted']} is classified as {pair['predicted']}"
    return evaluation_figures.confusion(report["confusion"], EMOTIONS, f"{who}: UAR {report['uar']:.3f};\n{error}")


confusion("stratified", "Speakers of the training")

# %% tags=["figure:confusion-new-speakers"]
confusion("actors5", "New speakers")

# %%
f1 = {
    name: {emotion: row["f1"] for emotion, row in reports[name]["per_emotion"].items()}
    for name in ("stratified", "actors5")
}
ranked = sorted(EMOTIONS, key=lambda emotion: -f1["actors5"][emotion])
best, worst = (f1["actors5"][ranked[place]] for place in (0, -1))
title = f"On new speakers {ranked[0]} is easiest (F1 {best:.2f}) and {ranked[-1]} hardest (F1 {worst:.2f})"
figures.emotions_by_protocol(f1, ranked, title)

# %% [markdown]
# Which errors are these? If spectrograms show arousal better than valence, a wrong answer should keep the arousal more
# often than the valence. Errors from or to an emotion that lies on neither side of an axis are left out. The dashed
# line is the share if all wrong emotions were equally likely.

# %%
axes = {"arousal": arousal_valence.AROUSAL, "valence": arousal_valence.VALENCE}
matrix = reports["actors5"]["confusion"]
kept = {name: arousal_valence.kept_by_errors(matrix, EMOTIONS, side) for name, side in axes.items()}
title = "Of the errors on new speakers {arousal:.0%} keep the arousal\nand {valence:.0%} keep the valence".format(
    **{name: row["kept"] for name, row in kept.items()}
)
figures.errors_by_side(kept, title)

# %% [markdown]
# ## 9. Pitch bias
#
# Women's voices are higher than men's, and an excited voice is higher than a calm one. A model that confuses the two
# would do worse for one gender, or take gender for emotion. So we test it in two ways.
#
# First, the scores of men's and women's voices on new speakers, with 95% intervals over speakers. The *p* value is
# from a permutation test: how often do two random groups of speakers differ by as much? The dashed lines are human
# listeners (Livingstone and Russo 2018), who also recognise the women of this data set better. So compare the gap of
# the model with that of the listeners, not with zero.

# %%
bias = result("experiments/results/pitch-bias.json")
figures.pitch_bias(bias)

# %% [markdown]
# Second, a counterfactual. Take the same clips, change nothing but the pitch, and ask again. If the model relied on
# pitch alone, a man's sad voice some semitones higher would get another answer.

# %%
counterfactual = result("experiments/results/pitch-counterfactual.json")
figures.pitch_counterfactual(counterfactual["shifts"], counterfactual["emotions"])

# %%
rows = []
for row in counterfactual["shifts"][::2]:
    accuracy = {gender: f"{each['accuracy']:.3f}" for gender, each in row["by"]["gender"].items()}
    rows.append({"pitch moved by": f"{row['semitones']:+d} semitones", **accuracy})
table(rows)

# %% [markdown]
# So, is there a pitch bias?

# %%
difference, p_value, listeners = 100 * bias["uar_difference"], bias["p_value"], bias["listeners"]
by_pitch = {gender: {row["third"]: row for row in bias["by_pitch"][gender]} for gender in ("male", "female")}
shares = {row["semitones"]: row["by"]["gender"] for row in counterfactual["shifts"]}
up = {who: 100 * (shares[2][who]["accuracy"] - shares[0][who]["accuracy"]) for who in by_pitch}
says = [f"**Verdict: {'yes' if p_value < 0.05 else 'not shown'}.**"]
says += [f"The UAR of women's voices minus that of men's is {difference:+.1f} points (p = {p_value:.2g})."]
theirs = 100 * (listeners["female"] - listeners["male"])
says += [f"The accuracy of listeners differs by {theirs:+.1f} points, so a part lies in the recordings."]
if "high" in by_pitch["male"] and "low" in by_pitch["female"]:
    alike = {"highest third of men's": by_pitch["male"]["high"], "lowest third of women's": by_pitch["female"]["low"]}
    words = (f"{row['uar']:.2f} for the {who} clips ({row['median_hz']:.0f} Hz)" for who, row in alike.items())
    says += [f"The rest goes with low pitch more than with gender: at a like pitch the UAR is {' and '.join(words)}."]
    says += ["Low clips are also more often sad, calm or neutral than high ones, which the model confuses."]
says += ["But to move the pitch is no cure, so it is not the pitch alone: two semitones up change the accuracy by"]
says += [f"{up['male']:+.0f} points for men and by {up['female']:+.0f} for women."]
Markdown(" ".join(says))

# %% [markdown]
# ## 10. Calibration and occlusion
#
# A model is calibrated if of all answers with 70% confidence, 70% are right: points on the diagonal. Label smoothing
# and mixup tend to make a network underconfident; long training without them makes it overconfident. One number, the
# *temperature*, divides the logits and corrects this on average. It is fitted on validation clips. The expected
# calibration error (ECE) is the mean distance from the diagonal.


# %%
def reliability(name):
    report, protocol = result(f"weights/{name}.evaluation.json"), shipped[name][1].protocol
    before, after = report["ece_before_temperature"], report["ece"]
    verb = "lowers" if after < before else "does not lower"
    title = f"{protocol['name']}, fold {protocol['fold']}: the temperature {verb} the ECE, {before:.3f} to {after:.3f}"
    return evaluation_figures.reliability(**report["reliability"], title=title)


reliability("ser_ravdess")

# %%
reliability("ser_ravdess_actors")

# %% [markdown]
# Which parts of the spectrogram matter? Occlusion: hide a small patch, ask again, and measure how much less likely the
# acted emotion has become; repeat for every patch. Where hiding lowers the log-odds, the patch was evidence for the
# emotion (orange); where it raises them, evidence against it (purple). Below are an angry and a sad clip of a speaker
# who was not in this model's training: of the first such speaker with right answers to both. Both have one scale of
# colours.

# %%
from experiments.occlusion import occlusion

tested, provenance = shipped["ser_ravdess_actors"]
part_of = Protocol.from_dict(provenance.protocol).split(clips).part_of
new_speakers = sorted({clip.speaker for clip in clips if part_of[clip.id] == "test"})


def answers_of(who):
    """The recordings of an angry and of a sad clip of a speaker, each with the model's answer."""
    waves = {name: load(clips[find(name, who)].path, rate) for name in ("angry", "sad")}
    return {name: (wave, tested.predict(wave)) for name, wave in waves.items()}


heard = {who: answers_of(who) for who in new_speakers}
right = [who for who in new_speakers if all(answer.emotion == name for name, (_, answer) in heard[who].items())]
new_speaker = (right or new_speakers)[0]
shown = []
for name, (wave, answer) in heard[new_speaker].items():
    decibels, evidence = occlusion(tested, wave, EMOTIONS.index(name))
    title = f"{name} (predicted: {answer.emotion}, {answer.confidence:.0%})"
    shown.append({"name": title, "decibels": decibels.numpy(), "evidence": evidence.numpy()})
Markdown(f"Speaker {new_speaker}: {'; '.join(each['name'] for each in shown)}.")

# %%
weights = [np.maximum(each["evidence"], 0).sum(axis=1) for each in shown]
centres = [float(hertz @ weight / weight.sum()) for weight in weights]
title = "The evidence lies at {:,.0f} Hz on average for angry and at {:,.0f} Hz for sad".format(*centres)
figures.occlusion(shown, window_seconds, hertz, title)

# %% [markdown]
# ## 11. Try it
#
# `predict.py` names the emotion of a file that the model has never heard, with its confidence. Any format, sample rate
# and length will do. Here is the synthetic voice that comes with the repository. The README shows another answer to it:
# there the default model answers, `ser_voices`, which was trained for any voice.

# %%
import subprocess

weights = (RESULTS / "weights/ser_ravdess.pth").resolve()
command = ["predict.py", "examples/sample.wav", "--weights", weights, "--device", "cpu"]
plain = {"cwd": REPOSITORY, "env": os.environ | {"TERM": "dumb"}, "text": True}  # no colours
printed = subprocess.run([sys.executable, *command], capture_output=True, check=True, **plain).stdout
Markdown(f"```text\n$ python predict.py examples/sample.wav --weights weights/{weights.name}\n\n{printed}```")

# %% [markdown]
# In Python that takes two lines:

# %%
model = ser_gpu.load_model(weights)
sample = model.predict(REPOSITORY / "examples/sample.wav")
Markdown(f"`{sample.emotion}`, {sample.confidence:.0%}")

# %% [markdown]
# A longer recording has more than one emotion. Here are twelve clips after each other, of a speaker who is not in the
# training of this model. Where the speech pauses, the recording is cut, and each stretch has its own answer, which
# stands above it where there is room.

# %%
talk = [i for i, clip in enumerate(clips) if clip.speaker == new_speaker][::5]
waves = [bank.waveform(i).numpy() for i in talk]
ends = np.cumsum([len(wave) for wave in waves]) / rate
middles = ends - [len(wave) / rate / 2 for wave in waves]


def with_acted(figure):
    """The figure of a timeline, with the acted emotions below instead of the time."""
    speech = figure.axes[1]
    speech.set_xticks(middles, [clips[i].emotion for i in talk], rotation=30, ha="right")
    speech.set_xlabel(f"acted emotion of each clip; {ends[-1]:.0f} seconds in all")
    figure.suptitle(f"Speaker {new_speaker}, new to the model")
    return figure


with_acted(tested.timeline(np.concatenate(waves)).plot())

# %% [markdown]
# ## 12. Your own voice
#
# A model hears a new voice worse than one it knows. *Enrolment* measures a few clips of the speaker, without labels.
# The network's batch normalisation then works with the speaker's statistics instead of those of all training voices.
# Below, eight clips of the new speaker are enrolled, and their other clips are answered without and with the voice.
# One speaker and one choice of clips prove nothing: docs/enrolment.md has the mean over all speakers and five draws.

# %%
own = [i for i, clip in enumerate(clips) if clip.speaker == new_speaker]
heard = tested.predict_many([clips[i].path for i in own])
own = [i for i, answer in zip(own, heard, strict=True) if hasattr(answer, "emotion")]  # a quiet clip is missed
enrolled, others = own[3::8], [i for i in own if i not in own[3::8]]
voice = tested.enrol([clips[i].path for i in enrolled])
right = {}
for name, known in (("without the voice", None), ("with the voice", voice)):
    answers = tested.predict_many([clips[i].path for i in others], voice=known)
    hits = [getattr(answer, "emotion", None) == clips[i].emotion for i, answer in zip(others, answers, strict=True)]
    right[name] = f"{sum(hits)} of {len(hits)} {name}"
Markdown(f"Right for speaker {new_speaker}: {', '.join(right.values())}.")

# %% [markdown]
# Two warnings. The model was trained on actors who *played* emotions, in English, in a studio; it does not know how
# anybody feels. And it always names one of eight emotions, because it knows no others.
#
# ## 13. The assignment, line by line
#
# The data, and phase 1:

# %%
energy, higher = (f"{gaps_of[name].mean:+.1f}" for name in ("energy above 2 kHz (dB)", "pitch (semitones)"))
new_uar, p = tables["actors5"]["summary"]["test"]["uar"]["mean"], model.config.augment
women, men = (bias["by"]["gender"][gender]["uar"] for gender in ("female", "male"))
new = f"UAR {new_uar:.3f} on new speakers: women {women:.3f}, men {men:.3f}; by pitch: the figure of section 9"


def lines(*rows):
    return table([dict(zip(("the assignment asks for", "section", "answer"), row)) for row in rows])


lines(
    ("RAVDESS, eight emotions", "1", f"{len(clips):,} clips, {len(set(speakers))} speakers, {len(EMOTIONS)} emotions"),
    ("3-second speech samples", "2, 4", f"a window of {window_seconds:g} s"),
    ("a CNN that generalises across voices, pitches, genders", "8, 9", new),
    ("silence trimming", "2", f"{silent.mean():.0f}% of the corpus is cut as silence"),
    ("mel spectrograms of angry and sad", "3", f"{energy} dB above 2 kHz, {higher} semitones"),
    ("log-mel spectrograms of one shape", "4", f"{list(spectrograms[:1].shape)} for each of {len(clips):,} clips"),
    ("noise injection", "5", f"on {p.noise_probability:.0%} of the training clips"),
    ("pitch shifting", "5", f"on {p.pitch_probability:.0%}, up to {p.pitch_semitones:g} semitones"),
    ("time stretching", "5", f"on {p.stretch_probability:.0%}, {p.min_stretch:g} to {p.max_stretch:g} times the tempo"),
)

# %% [markdown]
# Phase 2:

# %%
kinds = [layer.kind for layer in receptive_field.layers(model)]
count = {name: sum(name in kind for kind in kinds) for name in ("Conv2d", "BatchNorm2d", "Pool2d", "Dropout")}
pooling = {row["name"]: 100 * row["difference"] for row in heads if row["difference"] is not None}
scores = {key: tables["stratified"]["summary"]["test"][key]["mean"] for key in ("accuracy", "macro_f1", "uar")}
of_part = [int((parts_of == part).sum()) for part in ("train", "validation", "test")]
lines(
    ("blocks of Conv2D, BatchNormalization, Pooling", "6", "{Conv2d}, {BatchNorm2d}, {Pool2d} layers".format(**count)),
    ("dropout", "6, 7", f"{count['Dropout']} layer; with and without it: the figure of section 7"),
    ("global average pooling", "6, 7", f"a flatten layer instead: {pooling.get('flatten', 0):+.1f} points of UAR"),
    ("a stratified split, 80/10/10", "1", " / ".join(f"{each:,}" for each in of_part) + " clips"),
    ("accuracy", "8", f"{scores['accuracy']:.3f}, mean of {tables['stratified']['runs']} splits"),
    ("macro F1", "8", f"{scores['macro_f1']:.3f}"),
    ("a confusion matrix", "8", "two: of the speakers of the training, and of new ones"),
    ("pitch bias: male and female speakers", "9", f"verdict: women {difference:+.1f} points of UAR, p = {p_value:.2g}"),
)

# %% [markdown]
# Phase 3. `weights/ser_ravdess.pth` is from the best of the five splits. Expect the mean of the five, not the accuracy
# in this table.

# %%
own = result("weights/ser_ravdess.evaluation.json")
lines(
    ("a notebook with EDA", "1 to 4", "this one"),
    ("training curves", "7", f"of {' and '.join(shipped)}, and of a small network with and without regularisation"),
    ("evaluation metrics", "8 to 10", "accuracy, UAR, macro F1, confusion, calibration"),
    ("saved weights (.pth)", "7", f"weights/ser_ravdess.pth: accuracy {own['accuracy']:.3f} on its own test part"),
    ("predict.py: an unseen .wav, the emotion, a confidence", "11", f"{sample.emotion}, {sample.confidence:.0%}"),
)

# %% [markdown]
# ## 14. References
#
# Data and protocols
#
# - Livingstone, Russo. The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS). PLoS ONE 13(5), 2018.
# - Luna-Jiménez et al. Multimodal Emotion Recognition on RAVDESS Dataset Using Transfer Learning. Sensors 21(22), 2021:
#   the folds of `actors5`.
# - Ma et al. EmoBox: Multilingual Multi-corpus Speech Emotion Recognition Toolkit and Benchmark. Interspeech 2024: the
#   folds of `actors6`.
# - Russell. A circumplex model of affect. Journal of Personality and Social Psychology 39(6), 1980.
#
# Sound
#
# - Slaney. Auditory Toolbox, version 2. Interval Research Corporation, 1998: the mel scale.
# - McFee et al. librosa: Audio and Music Signal Analysis in Python. SciPy 2015.
# - Cheuk et al. nnAudio: An on-the-Fly GPU Audio to Spectrogram Conversion Toolbox. IEEE Access 8, 2020.
# - Mauch, Dixon. pYIN: A Fundamental Frequency Estimator Using Probabilistic Threshold Distributions. ICASSP 2014.
#
# Augmentation
#
# - Jaitly, Hinton. Vocal Tract Length Perturbation (VTLP) improves speech recognition. ICML workshop, 2013.
# - Park et al. SpecAugment. Interspeech 2019.
# - Nam et al. FilterAugment. ICASSP 2022.
# - Zhang et al. mixup: Beyond Empirical Risk Minimization. ICLR 2018.
#
# Network and evaluation
#
# - He et al. Deep Residual Learning for Image Recognition. CVPR 2016.
# - Ioffe, Szegedy. Batch Normalization. ICML 2015.
# - Lin, Chen, Yan. Network in Network. ICLR 2014: global average pooling.
# - Srivastava et al. Dropout. Journal of Machine Learning Research 15, 2014.
# - Lakshminarayanan et al. Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles. NeurIPS 2017.
# - Araujo et al. Computing Receptive Fields of Convolutional Neural Networks. Distill, 2019.
# - Guo et al. On Calibration of Modern Neural Networks. ICML 2017.
# - Zeiler, Fergus. Visualizing and Understanding Convolutional Networks. ECCV 2014: occlusion.
