// The page: recordings in, the emotion out.

import { decode, joined, peakOf, resample, SHORTEST_SECONDS } from "./audio.js";
import { clock, percent } from "./draw.js";
import { Jobs } from "./jobs.js";
import { live } from "./live.js";
import { listen } from "./microphone.js";
import { Model } from "./model.js";
import { Result } from "./result.js";
import { Teacher } from "./teach.js";
import { SHORT_SECONDS, timelineOf } from "./timeline.js";

const LONG_SECONDS = 30; // from here on one emotion for all of it would mean little
const BUTTONS = { record: ["Record", "Stop and answer"], live: ["Live", "Stop"] };
const SAMPLE = { name: "sample.wav" }; // fetched when it is read

const $ = (id) => document.getElementById(id);
const loading = Model.load((share) => ($("progress").value = share));
const jobs = new Jobs(showJob, fail);
const result = new Result(loading);
const recordings = []; // {name, state, text, answer, row}, and the file, which is read again, or the samples
let shown = null; // one of them
let voice = null; // of who speaks, where that is known

function showJob(kind) {
  for (const [id, texts] of Object.entries(BUTTONS)) {
    $(id).setAttribute("aria-pressed", String(kind === id));
    $(id).textContent = texts[Number(kind === id)];
  }
  $("cancel").hidden = kind === null || kind === "live";
  $("work").hidden = kind === null;
  if (kind) clearError();
  else teacher?.show();
}

/** What the page is doing, for the eyes; a share from 0 to 1, or none. */
function working(text, share = null) {
  $("doing").textContent = text;
  $("meter").hidden = true;
  $("progress").hidden = false;
  if (share === null) $("progress").removeAttribute("value");
  else $("progress").value = share;
}

/** What the microphone hears. */
function hearing(text, block) {
  $("doing").textContent = text;
  $("progress").hidden = true;
  $("meter").hidden = false;
  $("meter").value = Math.max(peakOf(block), 0.9 * $("meter").value);
}

/** To a screen reader, and to all where no answer shows the same. */
function say(text, isSeen = false) {
  $("status").textContent = text;
  $("status").classList.toggle("visually-hidden", !isSeen);
}

function fail({ message }) {
  $("error").textContent = message;
  $("error").hidden = false;
  say("");
}

function clearError() {
  $("error").hidden = true;
  say("");
}

function add(entry) {
  const row = document.createElement("li");
  row.innerHTML = '<button type="button"><b></b><span></span></button>';
  row.firstChild.addEventListener("click", () => choose(entry));
  recordings.push(Object.assign(entry, { row }));
  return entry;
}

async function choose(entry) {
  shown = entry;
  $("result").hidden = !entry.answer || result.answer !== entry.answer; // until its file is read again
  if (entry.state === "failed") fail({ message: entry.text });
  else clearError();
  showRecordings();
  if (!entry.answer || result.answer === entry.answer) return;
  try {
    const samples = entry.samples ?? (await samplesOf(entry.file));
    if (entry === shown) await result.show(entry.answer, samples);
  } catch (error) {
    if (entry === shown) fail(error);
  }
}

/** A row for each, where there are several. */
function showRecordings() {
  $("recordings").hidden = recordings.length < 2;
  for (const entry of recordings) {
    const [name, text] = entry.row.firstChild.children;
    name.textContent = entry.name;
    text.textContent = entry.text.replace(`${entry.name}: `, "");
    entry.row.firstChild.setAttribute("aria-current", String(entry === shown));
  }
  $("recordings").append(...recordings.map(({ row }) => row).filter(({ isConnected }) => !isConnected));
}

function answerFiles(files) {
  if (files.length === 0) return;
  for (const file of files) add({ name: file.name, state: "waiting", text: "waiting", file });
  showRecordings();
  if (jobs.kind !== "files") jobs.start("files", answerWaiting);
}

const unanswered = () => recordings.filter(({ state }) => state === "waiting" || state === "working");

/** Who speaks from now on; what is half answered is answered again. */
function useVoice(used) {
  if (used === voice) return;
  voice = used;
  if (jobs.kind !== "files") return;
  const again = unanswered();
  jobs.cancel();
  for (const entry of again) end(entry, "waiting", "waiting");
  jobs.start("files", answerWaiting);
}

async function answerWaiting(job) {
  job.cancelled.addEventListener("abort", () => {
    for (const entry of unanswered()) end(entry, "cancelled", "cancelled");
    if (!shown?.answer) $("result").hidden = true;
    showRecordings();
  });
  for (let entry; (entry = recordings.find(({ state }) => state === "waiting")); ) {
    try {
      await answer(entry, job);
    } catch (error) {
      if (job.cancelled.aborted) return;
      end(entry, "failed", error.message);
      if (entry === shown) choose(entry);
      else showRecordings();
    }
  }
}

function end(entry, state, text) {
  Object.assign(entry, { state, text });
}

/** Answer one recording, from its file or its samples, and show it. */
async function answer(entry, { cancelled }) {
  end(entry, "working", "listening");
  shown = entry;
  clearError(); // it was of another one
  showRecordings();
  working(`Reading ${entry.name} …`);
  const model = await loading;
  const { labels, sample_rate } = model.about;
  const { name } = entry;
  const samples = entry.samples ?? (await samplesOf(entry.file));
  cancelled.throwIfAborted();
  const seconds = samples.length / sample_rate;
  if (seconds < SHORTEST_SECONDS) throw new Error(`${name}: ${Math.round(1000 * seconds)} ms is too short, 50 ms is the least.`);
  working(`Listening to ${name} …`);
  const found = { file: name, seconds, labels, voice: Boolean(voice) };
  if (seconds <= LONG_SECONDS) {
    const prediction = await model.predict(samples);
    cancelled.throwIfAborted();
    if (!prediction) throw new Error(`${name}: no speech was found, only silence or other sounds.`);
    Object.assign(found, prediction, { segments: [{ start: 0, end: seconds, speech: true, ...prediction }] });
  } else {
    found.segments = [];
  }
  const isShown = () => shown === entry;
  if (isShown()) result.show(found, samples);
  if (seconds > SHORT_SECONDS) {
    const began = performance.now();
    found.segments = await timelineOf(samples, model, cancelled, (segments, share) => {
      const left = ((performance.now() - began) / 1000 / share) * (1 - share);
      working(`Listening to ${name}: ${left < 1.5 ? "nearly done" : `${Math.ceil(left)} s left`}`, share);
      if (isShown()) result.show({ ...found, segments }, samples);
    });
    if (!found.segments.some(({ speech }) => speech)) throw new Error(`${name}: no speech was found, only silence or other sounds.`);
  }
  cancelled.throwIfAborted();
  entry.answer = found;
  end(entry, "done", result.summary(found));
  if (isShown()) {
    await result.show(found, samples);
    say(`${name}: ${entry.text}.`);
  }
  showRecordings();
}

async function samplesOf(file) {
  const { about } = await loading;
  try {
    return await decode(file === SAMPLE ? await (await fetch(file.name)).blob() : file, about.sample_rate);
  } catch {
    throw new Error(`${file.name}: this browser finds no audio in it that it can decode.`);
  }
}

/** The samples of the microphone until the job ends; none where it ends before there are any. */
async function recorded(job, prompt) {
  const { about } = await loading;
  const blocks = [];
  let count = 0;
  let rate = about.sample_rate;
  working("Waiting for the microphone …");
  await listen(about.sample_rate, job.ended, (block, blockRate) => {
    blocks.push(block);
    rate = blockRate;
    count += block.length;
    hearing(`${prompt} ${clock(count / rate)}`, block);
  });
  job.cancelled.throwIfAborted();
  working("Listening …");
  return resample(joined(...blocks), rate, about.sample_rate);
}

async function recordAndAnswer(job) {
  const samples = await recorded(job, "Recording: say a sentence, then stop.");
  if (samples.length === 0 || job.cancelled.aborted) return;
  const number = recordings.filter(({ isRecording }) => isRecording).length;
  const name = number ? `your recording ${number + 1}` : "your recording";
  add({ name, state: "waiting", text: "waiting", samples, isRecording: true });
  jobs.start("files", answerWaiting);
}

async function answerLive(job) {
  const model = await loading;
  working("Waiting for the microphone …");
  shown = null;
  showRecordings();
  const found = await live(model, job, {
    onBlock: (seconds, block) => hearing(`Listening: ${clock(seconds)}`, block),
    onAnswer: (answer, samples) => shown || result.showLive({ ...answer, voice: Boolean(voice) }, samples),
  });
  if (!found) return;
  const entry = add({ name: "live", samples: found.samples, answer: { ...found.answer, voice: Boolean(voice) } });
  end(entry, "done", result.summary(entry.answer));
  choose(entry);
  say(`Live: ${entry.text}.`);
}

$("file").addEventListener("change", ({ target }) => {
  answerFiles([...target.files]);
  target.value = "";
});
$("record").addEventListener("click", (event) => jobs.toggle("record", recordAndAnswer, event));
$("live").addEventListener("click", (event) => jobs.toggle("live", answerLive, event));
$("cancel").addEventListener("click", () => {
  jobs.cancel();
  say("Cancelled.", true);
});
$("sample").addEventListener("click", ({ detail }) => detail > 1 || answerFiles([SAMPLE]));

for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") answerFiles([...event.dataTransfer.files]);
  });
}
addEventListener("pagehide", () => jobs.cancel());

let teacher = null;
$("work").hidden = false;
working("Loading the model …", 0);
loading.then(
  async (model) => {
    const { about } = model;
    if (!jobs.kind) $("work").hidden = true;
    const licence = about.licence ? ` Licence: ${about.licence}.` : "";
    $("about").textContent = `Model: ${about.name}, ser_gpu ${about.ser_gpu}.${licence}`;
    teacher = new Teacher(model, { jobs, record: recorded, onChange: useVoice });
    await teacher.start();
    document.documentElement.dataset.ready = "true";
    if (!jobs.kind) model.answer(new Float32Array(about.window_samples)).catch(() => {}); // the first one is slow
    navigator.serviceWorker?.register(`service-worker.js?${about.version}`).catch(() => {}); // without it the page only needs a network
  },
  (error) => {
    $("work").hidden = true;
    fail({ message: `The model cannot be loaded: ${error.message}` });
  },
);
