// The page: recordings in, the emotion out.

import { decode, resample, SHORTEST_SECONDS } from "./audio.js";
import { drawSpectrogram, drawWaveform, percent, showBars, showSegments } from "./draw.js";
import { listen, openMicrophone, record } from "./microphone.js";
import { Model } from "./model.js";
import { press, Teacher } from "./teach.js";
import { RATE, SHORT_SECONDS, timeline } from "./timeline.js";

const LIVE_SECONDS = 3;
const LIVE_PAUSE_MS = 250;
const SHOWN_SECONDS = 60;

const $ = (id) => document.getElementById(id);
const loading = Model.load();
let recording = null;
let listening = null;
let last = null; // what is shown, for the downloads
let turn = 0; // of the recordings; the answer to an earlier one is not shown any more
let usesVoice = false;

function say(text) {
  $("status").textContent = text;
}

function fail(message) {
  $("error").textContent = message;
  $("error").hidden = false;
  $("result").hidden = true;
  say("");
}

function clearError() {
  $("error").hidden = true;
}

async function answerFile(file) {
  clearError();
  say("Reading the file …");
  try {
    const { about } = await loading;
    let samples;
    try {
      samples = await decode(await file.arrayBuffer(), about.sample_rate);
    } catch {
      throw new Error(`${file.name}: this browser finds no audio in it that it can decode.`);
    }
    await answer(samples, file.name);
  } catch (error) {
    fail(error.message);
  }
}

async function answer(samples, name) {
  const mine = ++turn;
  const model = await loading;
  const seconds = samples.length / model.about.sample_rate;
  if (seconds < SHORTEST_SECONDS) throw new Error(`${name}: ${Math.round(1000 * seconds)} ms is too short, 50 ms is the least.`);
  const prediction = await model.predict(samples, (at, all) => {
    if (all > 4) say(`Listening: window ${at + 1} of ${all} …`);
  });
  if (mine !== turn) return;
  if (!prediction) throw new Error(`${name}: no speech was found, only silence or other sounds.`);
  const segments = [{ start: 0, end: seconds, speech: true, ...prediction }];
  await show(prediction, segments, samples, name);
  if (seconds > SHORT_SECONDS) {
    const heard = await resample(samples, model.about.sample_rate, RATE);
    const found = await timeline(heard, model, (share) => mine === turn && say(`Over time: ${percent(share)} …`));
    if (mine !== turn) return;
    showOverTime(found);
  }
  say("");
}

async function show(prediction, segments, samples, name) {
  const { about } = await loading;
  $("result").hidden = false;
  $("name").textContent = name;
  $("emotion").textContent = `${prediction.emotion}, ${percent(prediction.confidence)}`;
  showBars($("bars"), prediction.probabilities);
  $("over-time").hidden = true;
  const seconds = samples.length / about.sample_rate;
  last = { file: name, seconds, labels: about.labels, voice: usesVoice, ...prediction, segments };
  setDownloads();
  await draw(samples, about);
}

function showOverTime(segments) {
  $("over-time").hidden = false;
  showSegments($("strip"), $("segments"), segments);
  last = { ...last, segments };
  setDownloads();
}

async function draw(samples, about) {
  const shown = samples.subarray(0, SHOWN_SECONDS * about.sample_rate);
  const seconds = shown.length / about.sample_rate;
  $("extent").textContent = `${shown.length < samples.length ? "the first " : ""}${seconds.toFixed(1)}\u00a0s`;
  $("waveform").setAttribute("aria-label", `Waveform, ${seconds.toFixed(1)} seconds`);
  $("spectrogram").setAttribute("aria-label", `Log-mel spectrogram, ${about.mel.f_min} to ${about.mel.f_max} Hz`);
  drawWaveform($("waveform"), shown);
  const settings = { ...about.mel, sample_rate: about.sample_rate };
  const model = await loading;
  const bands = await model.call("spectrogram", { samples: shown.slice(), settings, most: $("spectrogram").width });
  drawSpectrogram($("spectrogram"), bands, about.mel.top_db);
}

/** JSON and CSV with the names that ser-gpu timeline gives them. */
function setDownloads() {
  const { labels } = last;
  const share = (value) => value?.toFixed(4) ?? "";
  const row = ({ start, end, speech, emotion, confidence, probabilities }) => [
    ...[start.toFixed(3), end.toFixed(3), Number(speech), emotion ?? "", share(confidence)],
    ...labels.map((label) => share(probabilities[label])),
  ];
  const head = ["start", "end", "speech", "emotion", "confidence", ...labels];
  const csv = [head, ...last.segments.map(row)].map((line) => `${line.join(",")}\n`).join("");
  setDownload($("json"), JSON.stringify(last, null, 2), "application/json");
  setDownload($("csv"), csv, "text/csv");
}

function setDownload(link, text, type) {
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([text], { type }));
}

async function toggleRecording() {
  if (recording) {
    const { stop } = recording;
    recording = null;
    press($("record"), false, "Record");
    const blob = await stop();
    await answerFile(new File([blob], "your recording", { type: blob.type }));
    return;
  }
  clearError();
  try {
    if (listening) await toggleLive();
    recording = record(await openMicrophone());
    press($("record"), true, "Stop and answer");
    say("Recording: say a sentence, then stop.");
  } catch (error) {
    recording = null;
    fail(error.message);
  }
}

async function toggleLive() {
  if (listening) {
    const { stop } = listening;
    listening = null;
    press($("live"), false, "Live");
    say("");
    await stop();
    return;
  }
  clearError();
  try {
    const model = await loading;
    const mine = await listen(await openMicrophone(), LIVE_SECONDS);
    listening = mine;
    press($("live"), true, "Stop");
    say("Listening …");
    while (listening === mine) {
      const samples = await resample(mine.samples(), mine.sampleRate, model.about.sample_rate);
      const isLong = samples.length >= SHORTEST_SECONDS * model.about.sample_rate;
      const prediction = isLong ? await model.predict(samples) : null;
      if (listening !== mine) break;
      say(prediction ? `The last ${LIVE_SECONDS} seconds:` : "Listening: nobody speaks.");
      if (prediction) {
        const seconds = samples.length / model.about.sample_rate;
        await show(prediction, [{ start: 0, end: seconds, speech: true, ...prediction }], samples, "live");
      }
      await new Promise((resolve) => setTimeout(resolve, LIVE_PAUSE_MS));
    }
  } catch (error) {
    if (listening) await listening.stop();
    listening = null;
    press($("live"), false, "Live");
    fail(error.message);
  }
}

async function trySample() {
  const response = await fetch("sample.wav");
  await answerFile(new File([await response.blob()], "sample.wav"));
}

$("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) answerFile(target.files[0]);
  target.value = "";
});
$("record").addEventListener("click", toggleRecording);
$("live").addEventListener("click", toggleLive);
$("sample").addEventListener("click", trySample);

for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) answerFile(event.dataTransfer.files[0]);
  });
}

async function stopAll() {
  if (listening) await toggleLive();
  if (recording) await toggleRecording();
}

loading.then(
  async (model) => {
    const { about, threads } = model;
    say("");
    const licence = about.licence ? `, ${about.licence}` : "";
    $("about").textContent = `Model: ${about.name}${licence}; ser_gpu ${about.ser_gpu}; threads: ${threads}.`;
    $("sample").hidden = !about.sample;
    const onChange = (isUsed) => (usesVoice = isUsed);
    await new Teacher(model, { onStart: stopAll, onChange }).start();
    document.documentElement.dataset.ready = "true";
  },
  (error) => fail(`The model cannot be loaded: ${error.message}`),
);
