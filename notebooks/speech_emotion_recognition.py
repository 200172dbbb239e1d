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
# Say "Kids are talking by the door" calmly, then angrily. The words are the same; everything else changes: how loud,
# how high, how fast, and which frequencies carry the energy. This notebook follows that difference from the microphone
# to a neural network that names the emotion. It takes about twenty minutes to read.
#
# 1. The data
# 2. Cleaning
# 3. What emotion looks like
# 4. From wave to picture
# 5. Augmentation
# 6. The network
# 7. Training
# 8. Results
# 9. Pitch bias
# 10. Confidence, and a look inside
# 11. Try it
#
# Every number and every title below is computed from the recordings or from results that the commands of this
# repository wrote. The long trainings are not repeated here; their weights and histories are loaded.

# %%
# %matplotlib inline
import csv
import json
import os
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown

import ser_gpu
from ser_gpu import EMOTIONS, checkpoint
from ser_gpu.data import ravdess, survey
from ser_gpu.data.protocols import Protocol
from ser_gpu.data.waveform import ClipBank, load
from ser_gpu.results import acoustics, circumplex, figures, predictions
from ser_gpu.results.tables import markdown

REPOSITORY = Path("..")
RESULTS = Path(os.environ.get("SER_GPU_RESULTS", REPOSITORY))  # the folder that holds weights/ and experiments/results/


def result(name):
    return json.loads((RESULTS / name).read_text())


torch.manual_seed(0)
model = ser_gpu.load_model(RESULTS / "weights/ser_ravdess.pth")
rate = model.sample_rate
Markdown(f"ser_gpu {ser_gpu.__version__}, torch {torch.__version__}; the model hears {rate:,} samples a second")

# %% [markdown]
# ## 1. The data
#
# RAVDESS (Livingstone and Russo 2018) is a set of studio recordings. Professional actors, as many women as men, speak
# two sentences in eight emotions, each at normal and at strong intensity, and each twice. Neutral has no strong form,
# so there is half as much of it. All else is balanced, which is rare and pleasant: a model cannot win by guessing the
# most frequent emotion.

# %%
clips = ravdess.scan(ravdess.locate(None)).clips
labels = np.array([clip.emotion for clip in clips])
actors = np.array([clip.actor for clip in clips])
names = [clip.name for clip in clips]
rarest = EMOTIONS[np.bincount(labels).argmin()]
title = f"{len(clips):,} clips by {len(set(actors))} actors: the rarest emotion is {rarest}"
figures.counts(clips, EMOTIONS, title)

# %% [markdown]
# How long are they, and how loud? The level below is that of the speech alone, on the recordings as they are. It is a
# first and strong clue. We shall not use it: on a phone it tells how near the microphone is, not how somebody feels.
# Every clip is brought to the same peak before the network hears it.

# %%
recordings = survey.survey(clips)
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
# ### Small print that matters
#
# Any real data set has oddities, and it pays to look for them before a model does.

# %%
found = {
    "sample rates": [f"{hertz:,} Hz" for hertz in {each.sample_rate for each in recordings}],
    "stereo files": [clip.name for clip, each in zip(clips, recordings) if each.channels > 1],
    "files that hold the very same samples": [" = ".join(pair) for pair in survey.identical(clips, recordings)],
    "pairs of twins": [f"{len({clip.twins for clip in clips}):,}"],
}
Markdown(markdown([{"what": what, "found": "<br>".join(which) or "none"} for what, which in found.items()]))

# %% [markdown]
# Stereo files are averaged to one channel. The twins are the dangerous part. An actor says the same sentence in the
# same emotion a second time. If one of the two is in training and the other in the test, the test asks for something
# that the model has almost heard. How alike are they? Below, every pair of clips of the same sentence and the distance
# between their pictures (section 4 says how a picture is made).

# %%
bank = ClipBank.read([clip.path for clip in clips], rate)
with torch.inference_mode():
    parts = torch.arange(len(clips)).split(64)
    windows = torch.cat([model.trim(*bank.batch(part)) for part in parts])
    pictures = torch.cat([model.mel(windows[part])[:, 0] for part in parts])
apart = acoustics.distances_by_relation(pictures, clips)
medians = {name: np.median(values) for name, values in apart.items()}
nearest = min(medians, key=medians.get).split(":")[0].replace("\n", " ")
figures.distances(apart, f"{nearest.capitalize()} are the closest clips; median distance {min(medians.values()):.2f}")

# %% [markdown]
# So it matters how the clips are dealt into training, validation and test. Three ways, from easy to honest:
#
# - `stratified`: 80/10/10 at random, every emotion in its proportion. Simple and common.
# - `twin-safe`: the same, but both repetitions go to one side.
# - `actors5` and `actors6`: whole actors are held out. The test voices are new.

# %%
rows = []
for protocol in ("stratified", "twin-safe", "actors5", "actors6"):
    split = Protocol(protocol).split(clips)
    test = len(split.names("test"))
    speakers, twins = survey.with_speaker_in_training(clips, split), survey.with_twin_in_training(clips, split)
    known = {"speaker in training": f"{len(speakers) / test:.0%}", "twin in training": f"{len(twins) / test:.0%}"}
    rows.append({"protocol": protocol, "test clips": test, **known})
Markdown(markdown(rows))

# %% [markdown]
# ## 2. Cleaning
#
# Each recording begins and ends with silence. It says nothing about the emotion, and a network that looks at it wastes
# effort or, worse, learns which actor waited how long. A frame counts as silent if its level lies a fixed number of
# decibels below the loudest frame of the same clip; what comes before the first and after the last frame with sound is
# cut. The rest is centred in a window of fixed length, because a network wants pictures of one size.


# %%
def find(emotion, actor, statement=1):
    """The clip of an emotion by one actor: first repetition, strong where there is a strong one."""
    wanted = (EMOTIONS.index(emotion), actor, statement)
    takes = [i for i, clip in enumerate(clips) if (clip.emotion, clip.actor, clip.statement) == wanted]
    return max(takes, key=lambda i: (clips[i].intensity, -clips[i].repetition))


first = find("sad", actors[0])
start, end = (bound.numpy() for bound in model.trim.bounds(bank.waveforms / 32768, bank.lengths))
raw = bank.waveforms[first, : bank.lengths[first]].numpy() / 32768
trim = model.config.trim
bounds = (start[first], end[first])
figures.trimming(raw, bounds, windows[first].numpy(), rate, trim.top_db, trim.frame_length, trim.hop)

# %% [markdown]
# How much of the corpus is silence? A good part of it, and not equally so for every emotion: a clip with little
# speech in it is a clip with much silence.

# %%
spoken = (end - start) / rate
silent = 100 * (1 - spoken / (bank.lengths.numpy() / rate))
medians = [np.median(silent[labels == emotion]) for emotion in range(8)]
most, least = EMOTIONS[np.argmax(medians)], EMOTIONS[np.argmin(medians)]
figures.distributions(
    {"silence at both ends (% of the clip)": silent, "speech that is left (s)": spoken},
    labels,
    EMOTIONS,
    f"{silent.mean():.0f} % of the corpus is silence: most in {most}, least in {least}",
)

# %% [markdown]
# ## 3. What emotion looks like
#
# Below are one actor and one sentence, sad and angry. Time runs to the right, frequency upwards, and brightness is
# energy in decibels below the clip's own peak, on one scale for both. Look for three things: how high the bright
# region reaches, how far apart the horizontal stripes are (they are the harmonics of the voice: the wider apart, the
# higher the pitch), and how much dark there is between the syllables.

# %% tags=["picture:angry-against-sad"]
mel = model.config.mel
hertz = acoustics.band_centres(mel.n_mels, mel.f_min, mel.f_max)
window_seconds = model.config.audio.clip_seconds
with torch.inference_mode():
    actor = actors[0]
    shown = {name: model.mel.decibels(windows[[find(name, actor)]])[0].numpy() for name in EMOTIONS}
pair = {name: shown[name] for name in ("sad", "angry")}
bright = {name: (picture[hertz > 2000] > -40).mean() for name, picture in pair.items()}
title = "Bright (within 40 dB of the peak) above 2 kHz: {angry:.0%} of angry, {sad:.0%} of sad".format(**bright)
figures.spectrograms(pair, window_seconds, hertz, title)

# %% [markdown]
# One clip proves little. The next figure averages over all clips of all actors. For each actor we take the mean level
# of every band when angry, and subtract the same when sad; the line is the mean of these differences, and the shaded
# band its 95 % confidence interval, from the spread over actors. Loudness is gone from this comparison: levels are
# relative to the whole clip, so what counts is which *share* of the energy lies where. What is left is the colour of
# the voice.

# %%
with torch.inference_mode():
    bands = torch.cat([acoustics.band_levels(model.mel.power(windows[part])) for part in parts]).numpy()
    shares = torch.cat([acoustics.spectrum_shares(windows[part]) for part in parts])
angry, sad = (labels == EMOTIONS.index(name) for name in ("angry", "sad"))
figures.band_difference(hertz, acoustics.difference(bands, angry, sad, actors), "angry", "sad", len(set(actors)))

# %% [markdown]
# Now five numbers for each clip, and how each emotion departs from the actor's own mean:
#
# - the **energy above 2 kHz**, in decibels relative to the whole clip;
# - the **spectral centroid**, the mean frequency weighted by energy: where the balance point of the spectrum is;
# - the **pitch**, the rate at which the vocal folds open and close, and its **range**, the spread within the clip (both
#   in semitones, tracked by pYIN of librosa);
# - the **tempo**, in syllables a second: both sentences have seven syllables.

# %%
pitch, pitch_range = acoustics.read_pitch(RESULTS / "experiments/results/pitch.csv", names)
measured = {
    "energy above 2 kHz (dB)": acoustics.energy_above(shares, rate, 2000).numpy(),
    "centroid (Hz)": acoustics.centroid(shares, rate).numpy(),
    "pitch (semitones)": pitch,
    "pitch range (semitones)": pitch_range,
    "tempo (syllables/s)": acoustics.syllables_per_second(spoken),
}
profile = {name: acoustics.deviations(values, labels, actors, len(EMOTIONS)) for name, values in measured.items()}
order = [EMOTIONS[i] for i in np.argsort(-profile["pitch (semitones)"].mean)]
title = f"Less the actor's own mean: {order[0]} has the highest pitch and {order[-1]} the lowest"
figures.acoustic_profile(profile, EMOTIONS, title)

# %% [markdown]
# Psychologists order emotions on two axes (Russell 1980): *valence*, pleasant or unpleasant, and *arousal*, how much
# energy the body is ready to spend. Anger, fear, joy and surprise have high arousal; sadness, calm and a neutral state
# have low arousal.

# %%
arousal = np.array([circumplex.AROUSAL.get(EMOTIONS[label]) for label in labels])
high, low = arousal == "high", arousal == "low"
means = {name: acoustics.actor_means(bands, members, actors) for name, members in (("high", high), ("low", low))}
groups = {f"{name} arousal": acoustics.over_actors(values) for name, values in means.items()}
gap = acoustics.difference(measured["energy above 2 kHz (dB)"], high, low, actors)
title = f"Energy above 2 kHz: {gap.mean:+.1f} dB with high arousal (95 %: {gap.low:+.1f} to {gap.high:+.1f})"
figures.spectra(hertz, groups, title)

# %% [markdown]
# Why? A body that is ready to act breathes harder and tightens the larynx. The vocal folds then snap shut faster, and a
# sharper closure makes stronger high harmonics. Tense folds also vibrate faster, so the pitch rises with the energy.
#
# So a picture of a voice should tell arousal easily and valence with difficulty: joy and anger both spend energy.
# Section 8 asks whether the errors of the model agree. Here are all eight emotions, same actor, same sentence.

# %%
above = dict(zip(EMOTIONS, profile["energy above 2 kHz (dB)"].mean))
bright, dark = max(above, key=above.get), min(above, key=above.get)
title = f"Over all actors {bright} is the brightest emotion and {dark} the darkest; here they are from actor {actor}"
figures.spectrograms(shown, window_seconds, hertz, title, columns=4)

# %% [markdown]
# ## 4. From wave to picture
#
# A recording is a list of pressures, thousands a second. To make a picture of it, cut it into short overlapping frames,
# measure the power at each frequency of each frame (the Fourier transform), and add up neighbouring frequencies into
# bands. Two choices in this are borrowed from the ear:
#
# - **the mel scale.** From 200 to 300 Hz is a wide step to the ear, from 7,200 to 7,300 Hz hardly one. So bands are
#   narrow below 1 kHz and grow wider above.
# - **the logarithm.** Ten times the power sounds about twice as loud, wherever one starts. In plain power a few cells
#   outshine all others; in decibels the quiet detail can be seen, by us and by the network.

# %%
from ser_gpu.stages.mel import LogMel, nnaudio_kernels

one = windows[[find("angry", actor)]]
_, basis = nnaudio_kernels(mel, rate)
power = model.mel.power(one)[0].numpy()
figures.from_wave_to_mel(power, basis.numpy(), model.mel.decibels(one)[0].numpy(), hertz, window_seconds)

# %% [markdown]
# The layer that does this is nnAudio's: its kernels are sines, cosines and triangles, applied as a convolution on the
# GPU. Our `LogMel` applies the same kernels by a convolution or by a Fourier transform, whichever suits the machine.
# Both must agree with librosa, the usual reference:

# %%
import librosa

power = librosa.feature.melspectrogram(
    y=one[0].numpy(), sr=rate, n_fft=mel.n_fft, hop_length=mel.hop, n_mels=mel.n_mels, fmin=mel.f_min, fmax=mel.f_max
)
reference = librosa.power_to_db(power, ref=np.max, top_db=mel.top_db)
rows = []
for backend in ("conv", "fft"):
    layer = LogMel(type(mel)(**{**vars(mel), "backend": backend, "trainable": False}), rate)
    difference = np.abs(layer.decibels(one)[0].numpy() - reference).max()
    rows.append({"backend": backend, "largest difference from librosa (dB)": f"{difference:.0e}"})
Markdown(markdown(rows))

# %% [markdown]
# Last, each picture is shifted to mean zero and scaled to variance one. What the network sees no longer depends on the
# level of the recording.
#
# ## 5. Augmentation
#
# The data set is small, and a large network could learn its voices by heart. So no clip is ever shown twice in the same
# way: by chance it gets noise, another pitch, another tempo, another place, another colour, and parts of its picture
# are hidden. The label stays, so the network has to look for what survives all this. Here is one clip after the
# training stages of the model, with one kind of augmentation at a time, then with all of them.

# %%
from dataclasses import replace

from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.mel import normalised

a = model.config.augment
chances = [name for name in vars(a) if name.endswith("_probability")]
off = replace(a, **dict.fromkeys(chances, 0.0), band_masks=0, frame_masks=0)
Markdown(
    markdown(
        [
            {"chance that a clip meets": name.rpartition("_")[0].replace("_", " "), "is": f"{getattr(a, name):.0%}"}
            for name in chances
        ]
    )
)


# %%
def in_training(**settings):
    """The clip after the training stages of a model that augments with these settings alone, in decibels."""
    stages = SpeechEmotionModel(replace(model.config, augment=replace(off, **settings))).train()
    decibels = stages.decibels(one)
    hidden = stages.mask(normalised(decibels)) == 0
    return decibels.masked_fill(hidden, decibels.min())[0, 0].numpy()


torch.manual_seed(1)
views = {
    "as recorded": in_training(),
    f"noise, {a.min_snr_db:.0f} to {a.max_snr_db:.0f} dB": in_training(noise_probability=1.0),
    f"pitch, ±{a.pitch_semitones:g} semitones": in_training(pitch_probability=1.0),
    f"tempo, x {a.min_stretch} to {a.max_stretch}": in_training(stretch_probability=1.0),
    f"place, ±{a.shift_seconds:g} s": in_training(shift_probability=1.0),
    f"bands, about {a.band_gain_db:.0f} dB": in_training(band_gain_probability=1.0),
    "masks": in_training(band_masks=a.band_masks, frame_masks=a.frame_masks),
    "all together": in_training(**vars(a)),
}
change = np.abs(views["all together"] - views["as recorded"]).mean()
title = f"The same words and emotion, other pictures: all together move a cell by {change:.0f} dB on average"
figures.spectrograms(views, window_seconds, hertz, title, columns=4)

# %% [markdown]
# Validation and test clips are never augmented. They stand for the voices out there, and a measurement on something
# that we made noisier or easier ourselves would measure our noise. In the code, every such module is the identity
# unless the model is in training mode.
#
# ## 6. The network
#
# A small residual network reads the picture. Each block has two convolutions with batch normalisation, a shortcut
# around them, and a pooling that halves the picture while the number of channels doubles: fewer places, richer
# descriptions. *Sees* is the receptive field, the piece of the picture that one cell of a block's output depends on.
#
# A model may hold several such networks, which start from other weights and answer together: what one of them learned
# by heart, the others did not. And it may look at each clip more than once, as it is and as a slightly higher, lower,
# faster or slower voice would say it; its answer is the mean.

# %%
from ser_gpu.anatomy import anatomy

ms = 1000 * mel.hop / rate
rows = [
    {
        "part": part.name,
        "layers": part.kind,
        "output": " x ".join(map(str, part.shape)),
        "parameters": f"{part.parameters:,}",
        "sees": f"{part.sees[0]} bands x {part.sees[1]} frames ({part.sees[1] * ms / 1000:.2f} s)",
    }
    for part in anatomy(model)
]
weights = sum(p.numel() for p in model.parameters())
Markdown(
    markdown(rows) + f"\n\nNetworks side by side: **{model.config.cnn.members}**, together {weights:,} parameters."
)

# %% [markdown]
# The pooling before the last layer is a choice. *Flatten* gives the classifier a weight for every cell of the last
# feature maps: it can learn *when* something sounds, which may be true of the training clips only. *Global average
# pooling* (GAP) asks how much of each feature there is, wherever it is. The figure compares these and other
# changes of the recipe, trained on the same folds and scored on validation actors. To afford so many trainings they are
# short and of one network each, so it is the differences that count, and what needs long trainings to pay looks small.

# %%
table = result("experiments/results/ablation.json")
recipe, *changes = table["variants"]
changes = sorted((row for row in changes if row["difference"] is not None), key=lambda row: row["difference"])
worst = f"; {changes[0]['name']} changes it by {100 * changes[0]['difference']:+.1f} points" if changes else ""
title = f"Trained so briefly, the recipe has a UAR of {recipe['validation']['uar']:.3f}{worst}"
figures.ablation(table["variants"], title)

# %%
heads = [row for row in table["variants"] if row is recipe or any("cnn.head" in each for each in row["settings"])]
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
Markdown(markdown(rows))

# %% [markdown]
# ## 7. Training
#
# A training shows the network all clips of the training part, epoch after epoch, and moves its weights down the slope
# of the cross-entropy. The validation part, which moves no weight, tells whether it learns something general. Below are
# the histories of the two models that come with this repository: one that knows all speakers, one that was kept from
# some. UAR is the mean over emotions of the share that is recognised.


# %%
def history(name):
    with (RESULTS / f"weights/{name}.metrics.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


shipped = {name: checkpoint.load(RESULTS / f"weights/{name}.pth") for name in ("ser_ravdess", "ser_ravdess_actors")}


def curves(name):
    rows, protocol = history(name), shipped[name][1].protocol
    who = "unseen actors" if protocol.speaker_independent else "known actors"
    end = f"{len(rows)} epochs end at a UAR of {rows[-1]['validation_uar']:.3f} on {who}"
    return figures.training_curves(rows, f"{protocol.name}, fold {protocol.fold}: {end}")


curves("ser_ravdess")

# %%
curves("ser_ravdess_actors")

# %% [markdown]
# The two losses do not measure the same thing. Training clips are noisy, masked and mixed with others, and their labels
# are smoothed, so their loss cannot come near zero; validation clips are clean. A training loss above the validation
# loss is what augmentation looks like when it works.
#
# What happens without it? A live run, about a minute: a small network on coarse pictures, a few epochs, clips of one of
# the two sentences alone, and nothing that hinders learning by heart: no augmentation, no dropout. Two actors are held
# out for validation.

# %%
from ser_gpu.config import AudioConfig, AugmentConfig, CnnConfig, MelConfig, ModelConfig, TrainConfig
from ser_gpu.results.metrics import headline
from ser_gpu.trainer import Material, Trainer, use_bfloat16

kids = [row for row, clip in enumerate(clips) if clip.statement == 1]
some, its_bank = [clips[row] for row in kids], ClipBank(bank.waveforms[kids], bank.lengths[kids], rate)
material = Material(some, its_bank, Protocol("actors5").split(some))
small = ModelConfig(
    audio=AudioConfig(clip_seconds=2.0),
    augment=AugmentConfig(enabled=False),
    mel=MelConfig(hop=512),
    cnn=CnnConfig(width=16, depth=3, members=1, block_dropout=0.0, head_dropout=0.0),
)
settings = TrainConfig(protocol="actors5", epochs=16, batch_size=16, label_smoothing=0.0, ema_decay=0.97)
trainer = Trainer(settings, small, material, use_bfloat16("auto", model.device))
sizes = {part: len(material.rows[part]) for part in ("train", "validation")}
weights = sum(p.numel() for p in trainer.model.parameters())
Markdown(f"{weights:,} parameters, {sizes['train']} clips to learn from, {sizes['validation']} of new voices")


# %%
def also_on_training_clips(row):
    logits, answers = trainer.logits("train")
    row["train_accuracy"] = headline(answers.numpy(), logits.argmax(dim=1).numpy())["accuracy"]


trainer.fit(also_on_training_clips)
last = trainer.history[-1]
known, new = last["train_accuracy"], last["validation_accuracy"]
title = f"Without augmentation: right on {known:.0%} of the training clips and on {new:.0%} of new voices"
figures.training_curves(trainer.history, title, augmented=False)

# %% [markdown]
# What lies between the grey and the blue curve on the right is memory: what the network knows about these clips and
# these voices, and not about emotion.
#
# ## 8. Results
#
# First the three kinds of test side by side. Every point is one training, scored once, at its end, on a part of the
# data that had no say in it.

# %%
stored = RESULTS / "weights/crossvalidation"
measured_on = [name for name in ("stratified", "twin-safe", "actors5", "actors6") if (stored / f"{name}.json").exists()]
tables = {name: result(f"weights/crossvalidation/{name}.json") for name in measured_on}
known, without_twins, new, *_ = (table["summary"]["test"]["uar"]["mean"] for table in tables.values())
title = f"UAR: {known:.3f} on known voices, {without_twins:.3f} without twins, {new:.3f} on new voices"
figures.protocols(tables, title)


# %%
def cell(summary):
    seeds, folds = (f"{summary[key]:.3f}" if summary[key] is not None else "-" for key in ("sd_seeds", "sd_folds"))
    return f"{summary['mean']:.3f} ({seeds}; {folds})"


answers = {name: predictions.read(stored / f"{name}.predictions.csv") for name in measured_on}
reports = {name: each.report() for name, each in answers.items()}
rows = []
for name, table in tables.items():
    metrics = {"accuracy": "accuracy", "UAR": "uar", "macro F1": "macro_f1"}
    scores = {label: cell(table["summary"]["test"][metric]) for label, metric in metrics.items()}
    low, high = reports[name]["interval95"]["uar"]
    interval = {"95 % interval of the UAR, over actors": f"{low:.3f} to {high:.3f}"}
    rows.append({"protocol": name, "trainings": table["runs"], **scores, **interval})
Markdown(markdown(rows) + "\n\nMean over trainings (standard deviation over seeds; over folds).")

# %% [markdown]
# The same network and the same recipe by other rules: how much of the test has it met before? One thing is fitted to
# that, on validation clips: it trains for 120 epochs where the speakers are known, for 60 where they are new. What the
# longer schedule learns is mostly the twins, so it lifts the first row far and the others hardly. Inside the stratified
# test the twins can be told apart:

# %%
splits = {fold: Protocol("stratified", fold).split(clips) for fold in set(answers["stratified"].folds.tolist())}
twins = {fold: survey.with_twin_in_training(clips, split) for fold, split in splits.items()}
accuracies = dict(zip(("twin in training", "twin not in training"), answers["stratified"].accuracy_of(twins)))
Markdown(markdown([{"test clips": which, "accuracy": f"{value:.3f}"} for which, value in accuracies.items()]))

# %% [markdown]
# Whoever compares two numbers from the literature should ask first by which of these rules they were made.
#
# Now the confusion matrices, all test answers together. A row is what was acted, a column what the model said.


# %%
def confusion(name, who):
    report = reports[name]
    pair = report["most_confused"][0]
    slip = f"{pair['share']:.0%} of {pair['acted']} is heard as {pair['predicted']}"
    return figures.confusion(report["confusion"], EMOTIONS, f"{who}: UAR {report['uar']:.3f};\n{slip}")


confusion("stratified", "Known actors")

# %% tags=["picture:confusion-unseen-actors"]
confusion("actors5", "Unseen actors")

# %%
f1 = {
    name: {emotion: row["f1"] for emotion, row in reports[name]["per_emotion"].items()}
    for name in ("stratified", "actors5")
}
ranked = sorted(EMOTIONS, key=lambda emotion: -f1["actors5"][emotion])
best, worst = (f1["actors5"][ranked[place]] for place in (0, -1))
title = f"On new voices {ranked[0]} is easiest (F1 {best:.2f}) and {ranked[-1]} hardest (F1 {worst:.2f})"
figures.emotions_by_protocol(f1, ranked, title)

# %% [markdown]
# What do the errors sound like? If the pictures tell arousal better than valence, a wrong answer should still have the
# right arousal more often than the right valence. Errors from or to an emotion that lies on neither side of an axis are
# left out; the dashed line is what even errors would give.

# %%
axes = {"arousal": circumplex.AROUSAL, "valence": circumplex.VALENCE}
kept = {name: circumplex.kept_by_errors(reports["actors5"]["confusion"], EMOTIONS, side) for name, side in axes.items()}
title = "Of the errors on unseen actors {arousal:.0%} keep the arousal\nand {valence:.0%} keep the valence".format(
    **{name: row["kept"] for name, row in kept.items()}
)
figures.errors_by_side(kept, title)

# %% [markdown]
# ## 9. Pitch bias
#
# Women's voices are higher than men's, and an excited voice is higher than a calm one. A model that confuses the two
# would do worse on one sex, or take one sex for another emotion. So we look twice.
#
# First, the scores of men's and women's voices on unseen actors, with 95 % intervals over actors. The *p* value is from
# a permutation test: how often do two groups of actors, drawn at random, differ by as much? The dashed lines are human
# listeners (Livingstone and Russo 2018), who find the women of this data set easier to read: a gap in the model is to
# be held against that, not against zero.

# %%
bias = result("experiments/results/pitch-bias.json")
figures.pitch_bias(bias)

# %%
sexes, p_value = bias["by_sex"], bias["by_sex"]["p_value"]
verdict = "more than chance explains" if p_value < 0.05 else "no more than chance explains"
Markdown(
    f"Women's voices score **{100 * sexes['uar_difference']:+.1f} points** of UAR against men's, {verdict} "
    f"(p = {p_value:.2g}, {bias['actors']} actors). Listeners: "
    f"{100 * (bias['listeners']['female'] - bias['listeners']['male']):+.1f} points."
)

# %% [markdown]
# Second, an experiment. Take the same clips, move nothing but their pitch, and ask again. If the model relied on pitch
# alone, a man's sad voice some semitones higher would be taken for something else.

# %%
counterfactual = result("experiments/results/pitch-counterfactual.json")
figures.pitch_counterfactual(counterfactual["shifts"], counterfactual["emotions"])

# %%
rows = []
for row in counterfactual["shifts"][::2]:
    accuracy = {sex: f"{each['accuracy']:.3f}" for sex, each in row["by_sex"].items()}
    rows.append({"pitch moved by": f"{row['semitones']:+d} semitones", **accuracy})
Markdown(markdown(rows))

# %% [markdown]
# ## 10. Confidence, and a look inside
#
# A model should know when it does not know. Of all answers given with 70 % confidence, 70 % should be right: points on
# the diagonal. Label smoothing and mixup tend to make a network too modest, long training without them too sure. One
# number, the *temperature*, divides the logits and corrects this on average; it is fitted on validation clips.


# %%
def reliability(name):
    report, protocol = result(f"weights/{name}.evaluation.json"), shipped[name][1].protocol
    before, after = report["calibration_error_before_temperature"], report["calibration_error"]
    moved = "lowers" if after < before else "does not lower"
    title = f"{protocol.name}, fold {protocol.fold}: the temperature {moved} the error, {before:.3f} to {after:.3f}"
    return figures.reliability(**report["reliability"], title=title)


reliability("ser_ravdess")

# %%
reliability("ser_ravdess_actors")

# %% [markdown]
# And where does the model look? Hide a small patch of the spectrogram, ask again, and see how much less likely the
# acted emotion has become; repeat for every patch. Where hiding hurts, the evidence was (orange); where it helps, the
# patch spoke for something else (purple). The clips are an angry and a sad one by an actor whom this model never heard.

# %%
from ser_gpu.evidence import occlusion

listener, provenance = shipped["ser_ravdess_actors"]
parts_of = provenance.protocol.split(clips).part_of
stranger = min(clip.actor for clip in clips if parts_of[clip.name] == "test")
looked = []
for name in ("angry", "sad"):
    wave = load(clips[find(name, stranger)].path, rate)
    decibels, evidence = occlusion(listener, wave, EMOTIONS.index(name))
    said = listener.predict(wave)
    title = f"{name} (heard as {said.emotion}, {said.confidence:.0%})"
    looked.append({"name": title, "decibels": decibels.numpy(), "evidence": evidence.numpy()})
Markdown(f"Actor {stranger}: {'; '.join(each['name'] for each in looked)}.")

# %%
spoke_for = [np.maximum(each["evidence"], 0).sum(axis=1) for each in looked]
balance = [float(hertz @ weight / weight.sum()) for weight in spoke_for]
title = "Evidence lies at {:,.0f} Hz on average for angry and at {:,.0f} Hz for sad".format(*balance)
figures.evidence(looked, window_seconds, hertz, title)

# %% [markdown]
# ## 11. Try it
#
# A clip of your own, in two lines. Any format, any rate, any length; here is the synthetic voice that comes with the
# repository.

# %%
model = ser_gpu.load_model(RESULTS / "weights/ser_ravdess.pth")
model.predict(REPOSITORY / "examples/sample.wav")

# %% [markdown]
# Two warnings before you trust it. It has heard actors who *played* emotions, in English, in a studio; it does not know
# how anybody feels. And it always names one of eight emotions, because it knows no others.
