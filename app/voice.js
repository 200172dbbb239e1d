// A speaker's voice: learnt from recordings, kept in the browser's storage, written and read as a .voice file.

import { windowsOf } from "./audio.js";

const FORMAT_VERSION = 3;
const WITHOUT_HEAD = 2; // an older format, which had none
const KIND = "ser_gpu voice";
const PLACE = "ser_gpu.voice";
const LARGEST_BYTES = 2 ** 24;
const MOST_WINDOWS = 32; // all views of all of them are in memory at once
const MOST_FLOAT = 3.4028234663852886e38;

/** Learn a voice from recordings of one speaker, as ser_gpu/voices/plan.py does; throws where one holds no speech. */
export async function enrol(recordings, model) {
  const { speaker, window_samples, sample_rate } = model.about;
  const heard = [];
  let seconds = 0;
  for (const samples of recordings) {
    let end = 0;
    for (const window of windowsOf(samples, model.about)) {
      const { probabilities, speech } = await model.answer(window.samples, true);
      if (!speech) continue;
      heard.push({ samples: window.samples, emotion: model.named(probabilities).emotion });
      seconds += Math.max(0, window.start + window.seconds - Math.max(end, window.start));
      end = window.start + window.seconds;
    }
  }
  if (!heard.length) throw new Error("No speech was heard.");
  const count = Math.min(heard.length, MOST_WINDOWS);
  const place = (i) => Math.round((i * (heard.length - 1)) / Math.max(1, count - 1));
  const kept = Array.from({ length: count }, (_, i) => heard[place(i)]);
  const share = heard.length / (heard.length + speaker.population_windows);
  const waveform = new Float32Array(count * window_samples);
  kept.forEach(({ samples }, i) => waveform.set(samples, i * window_samples));
  const weight = new Float32Array(count).fill(share / count);
  const { mean, variance } = await model.call("enrol", { waveform, weight });
  return {
    format_version: FORMAT_VERSION,
    kind: KIND,
    model: speaker.network,
    recordings: recordings.length,
    windows: heard.length,
    seconds,
    emotions: [],
    notes: notesOf(kept, heard.length, speaker),
    mean: numbers(mean),
    variance: numbers(variance),
    head: null, // which emotion a sentence has is not known
  };
}

/** By what the logits of this speaker are multiplied, as ser_gpu/voices/plan.py says. */
export function sharpness({ windows, emotions }, speaker) {
  const population = emotions.length === 1 ? speaker.population_windows_one_emotion : speaker.population_windows;
  return 1 + (speaker.sharpening * windows) / (windows + population);
}

function notesOf(kept, count, { helpful_windows, alike_share, fewest_alike }) {
  const notes = [];
  if (count < helpful_windows) {
    notes.push(`${count} ${count === 1 ? "clip" : "clips"} with speech may not help; ${helpful_windows} varied ones and more do`);
  }
  const times = {};
  for (const { emotion } of kept) times[emotion] = (times[emotion] ?? 0) + 1;
  const [most, often] = Object.entries(times).reduce((a, b) => (b[1] > a[1] ? b : a));
  if (kept.length >= fewest_alike && often >= alike_share * kept.length) {
    notes.push(`the clips are alike, ${often} of ${kept.length} sound ${most}: with this voice ${most} will be heard less; enrol varied speech`);
  }
  return notes;
}

/** With the nine digits that tell every float32 from its neighbours. */
function numbers(values) {
  return Array.from(values, (value) => Number(value.toPrecision(9)));
}

/** A voice from the text of a .voice file; throws an Error that says in one line what is wrong. */
export function read(text, about) {
  if (text.length > LARGEST_BYTES) throw new Error("too large for a voice file");
  let voice;
  try {
    voice = JSON.parse(text);
  } catch {
    throw new Error("not a voice file of ser_gpu");
  }
  if (voice?.kind === KIND && voice.format_version === WITHOUT_HEAD) voice = { ...voice, format_version: FORMAT_VERSION, head: null };
  if (voice?.kind !== KIND || voice.format_version !== FORMAT_VERSION) throw new Error("not a voice file of ser_gpu");
  if (voice.model !== about.speaker.network) throw new Error("it was made with another model; teach it again");
  const channels = about.speaker.population.mean.length;
  for (const name of ["mean", "variance"]) {
    const values = voice[name];
    const fits = Array.isArray(values) && values.length === channels;
    const least = name === "variance" ? 0 : -MOST_FLOAT;
    if (!fits || !values.every((value) => typeof value === "number" && value >= least && value <= MOST_FLOAT)) {
      throw new Error(`its ${name} is not that of this model`);
    }
  }
  if (voice.head !== null && !isHead(voice.head, about.speaker.head)) throw new Error("its head is not that of this model");
  if (!Array.isArray(voice.emotions)) throw new Error("it does not say which emotions it is of");
  if (!(voice.seconds > 0 && voice.windows > 0 && voice.recordings > 0)) throw new Error("it says of no speech that it is of");
  return voice;
}

function isHead(rows, [height, width]) {
  const isNumber = (value) => typeof value === "number" && Math.abs(value) <= MOST_FLOAT;
  const isRow = (row) => Array.isArray(row) && row.length === width && row.every(isNumber);
  return Array.isArray(rows) && rows.length === height && rows.every(isRow);
}

/** The voice that the browser keeps, or null; throws as `read` does. */
export function stored(about) {
  const text = localStorage.getItem(PLACE);
  return text === null ? null : read(text, about);
}

export function keep(voice) {
  localStorage.setItem(PLACE, JSON.stringify(voice));
}

export function forget() {
  localStorage.removeItem(PLACE);
}
