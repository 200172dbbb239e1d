// A speaker's voice: learnt from recordings, kept in the browser's storage, written and read as a .voice file.

const FORMAT_VERSION = 3;
const WITHOUT_HEAD = 2; // an older format, which had none
const KIND = "ser_gpu voice";
export const PLACE = "ser_gpu.voice";
const LARGEST_BYTES = 2 ** 24;
const HEAD_STEPS = 5000;
const HEAD_TOLERANCE = 1e-6;
const MOST_FLOAT = 3.4028234663852886e38;

/**
 * Learn a voice from recordings of one speaker, as ser_gpu/voices/plan.py does; `emotions` of each, or null. Throws where
 * one holds no speech.
 */
export async function enrol(recordings, emotions, model) {
  const { speaker, labels, window_samples } = model.about;
  const heard = [];
  let seconds = 0;
  for (const [at, samples] of recordings.entries()) {
    let end = 0;
    const windows = await model.speech(samples);
    if (windows.length === 0) throw new Error("No speech was heard.");
    for (const window of windows) {
      heard.push({ samples: window.samples, clip: at, named: emotions?.[at] ?? "" });
      seconds += Math.max(0, window.start + window.seconds - Math.max(end, window.start));
      end = window.start + window.seconds;
    }
  }
  const count = Math.min(heard.length, speaker.most_windows);
  const place = (i) => Math.round((i * (heard.length - 1)) / Math.max(1, count - 1));
  const kept = Array.from({ length: count }, (_, i) => heard[place(i)]);
  const times = Map.groupBy(kept, ({ named }) => named);
  const own = kept.map(({ named }) => 1 / (times.size * times.get(named).length)); // they sum to one
  const effective = heard.length / count / own.reduce((sum, weight) => sum + weight ** 2, 0);
  const distinct = emotions ? [...new Set(emotions)].sort() : [];
  const share = shareOf(effective, distinct, speaker);
  const waveform = new Float32Array(count * window_samples);
  kept.forEach(({ samples }, i) => waveform.set(samples, i * window_samples));
  const weight = Float32Array.from(own, (value) => share * value);
  const { mean, variance, features, probabilities } = await model.call("enrol", { waveform, weight });
  const measured = kept.map(({ named }, i) => ({
    named,
    weight: own[i] * effective,
    features: [...features.subarray((i * features.length) / count, ((i + 1) * features.length) / count), 1],
    logs: Array.from(probabilities.subarray(i * labels.length, (i + 1) * labels.length), Math.log),
  }));
  const answers = await Promise.all(kept.map(({ samples }) => model.answer(samples, true)));
  return {
    format_version: FORMAT_VERSION,
    kind: KIND,
    model: speaker.network,
    recordings: recordings.length,
    windows: heard.length,
    seconds,
    emotions: distinct,
    notes: notesOf(kept.map(({ clip }, i) => [clip, model.named(answers[i]).emotion]), heard.length, distinct, speaker),
    mean: numbers(mean),
    variance: numbers(variance),
    head: features.length ? headOf(measured, sharpness({ windows: heard.length, emotions: distinct }, speaker), effective, distinct, model.about) : null,
  };
}

/** What is added to the last layer, or null: `ser_gpu.voices.plan.head`. */
function headOf(measured, sharp, effective, distinct, { labels, speaker }) {
  const known = labels.filter((label) => distinct.includes(label));
  if (known.length < 2) return null;
  const of = measured.filter(({ named }) => known.includes(named));
  const scale = sharp / speaker.temperature;
  const prior = (speaker.head_prior / Math.min(effective, speaker.most_head_windows)) ** 2;
  const gram = of.map((a) => of.map((b) => a.features.reduce((sum, value, i) => sum + value * b.features[i], 0)));
  const logits = of.map(({ logs }) => known.map((label) => sharp * logs[labels.indexOf(label)]));
  const truth = of.map(({ named }) => known.map((label) => Number(label === named)));
  const weight = of.map((each) => (scale * each.weight) / (2 * prior));
  const found = posterior(gram, logits, truth, weight, scale);
  return labels.map((label) => {
    const at = known.indexOf(label);
    return of[0].features.map((_, i) => {
      const value = at < 0 ? 0 : of.reduce((sum, { features }, row) => sum + found[row][at] * features[i], 0);
      return Number(value.toPrecision(4));
    });
  });
}

/** Accelerated descent to `weight * (truth - probabilities)`: `ser_gpu.voices.plan._posterior`. */
function posterior(gram, logits, truth, weight, scale) {
  const size = gram.length;
  const heaviest = Math.max(...weight);
  const condition = 1 + 0.5 * scale * heaviest * norm(gram);
  const momentum = (Math.sqrt(condition) - 1) / (Math.sqrt(condition) + 1);
  let found = truth.map((row) => row.map(() => 0));
  let ahead = found;
  for (let step = 0; step < HEAD_STEPS; step++) {
    const missing = logits.map((row, at) => {
      const answers = row.map((logit, label) => {
        let sum = 0;
        for (let i = 0; i < size; i++) sum += gram[at][i] * ahead[i][label];
        return logit + scale * sum;
      });
      const largest = Math.max(...answers);
      const powers = answers.map((answer) => Math.exp(answer - largest));
      const total = powers.reduce((a, b) => a + b);
      return powers.map((power, label) => weight[at] * (truth[at][label] - power / total) - ahead[at][label]);
    });
    const before = found;
    found = ahead.map((row, at) => row.map((value, label) => value + missing[at][label] / condition));
    ahead = found.map((row, at) => row.map((value, label) => value + momentum * (value - before[at][label])));
    if (Math.max(...missing.flat().map(Math.abs)) <= HEAD_TOLERANCE * heaviest) break;
  }
  return found;
}

/** The largest eigenvalue of a symmetric matrix without negative ones. */
function norm(matrix) {
  let vector = matrix.map(() => 1);
  let length = 0;
  for (let step = 0; step < 200; step++) {
    vector = matrix.map((row) => row.reduce((sum, value, i) => sum + value * vector[i], 0));
    length = Math.hypot(...vector);
    vector = vector.map((value) => value / length);
  }
  return length;
}

/** By what the logits of this speaker are multiplied, as ser_gpu/voices/plan.py says. */
export function sharpness({ windows, emotions }, speaker) {
  return 1 + speaker.sharpening * shareOf(windows, emotions, speaker);
}

function shareOf(windows, emotions, speaker) {
  const population = emotions.length === 1 ? speaker.population_windows_one_emotion : speaker.population_windows;
  return windows / (windows + population);
}

function notesOf(heard, count, emotions, speaker) {
  const notes = [];
  const helpful = emotions.length > 1 ? speaker.helpful_named_windows : speaker.helpful_windows;
  const answers = heard.map(([, answer]) => answer);
  const clips = [...Map.groupBy(heard, ([clip]) => clip).values()];
  // of one recording alone, the windows are told
  const sounds = clips.length > 1 ? clips.map((clip) => mostOf(clip.map(([, answer]) => answer))[0]) : answers;
  const part = clips.length > 1 ? "clip" : "window";
  if (count < helpful) {
    notes.push(`${sounds.length} ${part}${sounds.length === 1 ? "" : "s"} with speech may not help; ${helpful} or more varied ones help on average`);
  }
  const [most, often] = mostOf(answers);
  if (emotions.length === 1) {
    notes.push(`all clips are ${emotions[0]}: so the model is adapted less`);
  } else if (emotions.length === 0 && answers.length >= speaker.fewest_alike && often >= speaker.alike_share * answers.length) {
    const alike = sounds.filter((sound) => sound === most).length;
    notes.push(
      `the ${part}s are alike, ${alike} of ${sounds.length} sound ${most}: with this voice ${most} will be heard less; enrol varied speech, or name the emotions`,
    );
  }
  return notes;
}

/** The most frequent value, the first of several, and how often it is there. */
function mostOf(values) {
  const times = [...Map.groupBy(values, (value) => value)].map(([value, { length }]) => [value, length]);
  return times.reduce((a, b) => (b[1] > a[1] ? b : a));
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
  for (const name of ["emotions", "notes"]) {
    const isTexts = Array.isArray(voice[name]) && voice[name].every((text) => typeof text === "string");
    if (!isTexts) throw new Error(`its ${name} are no texts`);
  }
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

/** Whether the browser keeps it. */
export function keep(voice) {
  try {
    localStorage.setItem(PLACE, JSON.stringify(voice));
    return true;
  } catch {
    return false;
  }
}

export function forget() {
  localStorage.removeItem(PLACE);
}
