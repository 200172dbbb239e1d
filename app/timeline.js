// The emotions of a recording over time; the same steps as ser_gpu/timeline in Python.

import { level, resample } from "./audio.js";

export const RATE = 16_000; // Hz that the detector of speech hears
export const SHORT_SECONDS = 6; // up to here a recording is one segment
const FRAME = 512;
const CONTEXT = 64; // samples before a frame that the detector hears too
const BLOCK = 16 * FRAME;
const BLOCKS_AT_ONCE = 20;
const LAG_SECONDS = 1;
const JOINED_SECONDS = 0.5;
const LEVEL = 0.1;
const SMALLEST_LEVEL = 1e-7;
const LEVEL_FRAMES = 312;
const LOUD_SHARE = 0.9;
const LOUD_SHARE_OF_BLOCK = 0.75;
const SMALLEST_SHARE = 1e-12;

/** Segments without gaps, neighbours of one emotion merged: {start, end, speech, emotion, confidence, probabilities}. */
export async function timeline(samples, model, onProgress = () => {}) {
  const { labels, sample_rate, window_samples, timeline: settings } = model.about;
  const cuts = new SpeechCuts(samples, window_samples / sample_rate, settings);
  const smoother = new Smoother(labels.length, settings);
  const found = [];
  let given = 0;
  let waiting = null;

  const gap = (end) => {
    if (end > given) found.push(silent(given / RATE, end / RATE));
    given = Math.max(given, end);
  };
  const finish = () => {
    if (!waiting) return;
    gap(waiting.start);
    found.push({ start: waiting.start / RATE, end: waiting.end / RATE, speech: true, ...model.named(waiting.shares) });
    given = waiting.end;
    waiting = null;
  };
  const answer = async ({ start, end }) => {
    const waveform = await resample(level(samples.slice(start, end)), RATE, sample_rate);
    const { probabilities } = await model.answer(waveform);
    const [before, soFar] = smoother.take(probabilities, start / RATE, end / RATE);
    if (waiting) waiting.shares = before;
    finish();
    waiting = { start, end, shares: soFar };
  };

  for await (const speech of speechOf(samples, model)) {
    for (const stretch of cuts.take(speech)) await answer(stretch);
    const quiet = cuts.seen - (waiting?.end ?? 0);
    if (waiting && !cuts.inSpeech && quiet > LAG_SECONDS * RATE) finish();
    onProgress(cuts.seen / samples.length);
  }
  for (const stretch of cuts.close()) await answer(stretch);
  finish();
  gap(samples.length);
  return merged(found, labels);
}

/** The probability of speech in each frame, a block at a time. */
async function* speechOf(samples, model) {
  let levels = [];
  let context = new Float32Array(CONTEXT);
  let state = null;
  for (let from = 0; from < samples.length; from += BLOCK * BLOCKS_AT_ONCE) {
    const to = Math.min(samples.length, from + BLOCK * BLOCKS_AT_ONCE);
    const heard = new Float32Array(CONTEXT + Math.ceil((to - from) / FRAME) * FRAME);
    heard.set(context);
    const sizes = [];
    for (let at = from; at < to; at += BLOCK) {
      const block = samples.subarray(at, Math.min(to, at + BLOCK));
      const own = levelsOf(block);
      levels = [...levels, ...own].slice(-LEVEL_FRAMES);
      const loud = Math.max(quantile(levels, LOUD_SHARE), quantile(own, LOUD_SHARE_OF_BLOCK), SMALLEST_LEVEL);
      const gain = Math.fround(LEVEL / loud);
      block.forEach((value, i) => (heard[CONTEXT + at - from + i] = value * gain));
      sizes.push(own.length);
    }
    const frames = sizes.reduce((a, b) => a + b);
    const rows = new Float32Array(frames * (CONTEXT + FRAME));
    for (let i = 0; i < frames; i++) rows.set(heard.subarray(i * FRAME, (i + 1) * FRAME + CONTEXT), i * (CONTEXT + FRAME));
    const answer = await model.call("speech", { rows, frames, state });
    context = heard.slice(-CONTEXT);
    state = answer.state;
    let first = 0;
    for (const size of sizes) yield answer.speech.slice(first, (first += size));
  }
}

function levelsOf(block) {
  return Array.from({ length: Math.ceil(block.length / FRAME) }, (_, frame) => {
    let power = 0;
    for (const value of block.subarray(frame * FRAME, (frame + 1) * FRAME)) power += value * value;
    return Math.sqrt(power / FRAME);
  });
}

function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

/** Speech between pauses, never longer than the window. */
class SpeechCuts {
  constructor(samples, mostSeconds, settings) {
    this.total = samples.length;
    this.settings = settings;
    this.mostFrames = Math.max(4, Math.floor((mostSeconds * RATE) / FRAME));
    this.seen = 0;
    this.inSpeech = false;
    this.frame = 0;
    this.start = 0;
    this.lastEnd = 0;
    this.speech = [];
    this.voiced = 0;
    this.quiet = 0;
  }

  /** The stretches that end in the next block. */
  take(probabilities) {
    this.seen = Math.min(this.total, this.seen + probabilities.length * FRAME);
    const found = [];
    for (const probability of probabilities) {
      this.next(probability, found);
      this.frame += 1;
    }
    return found;
  }

  close() {
    const found = [];
    if (this.inSpeech) this.ended(this.frame - this.quiet + this.settings.margin_frames, found);
    return found;
  }

  next(probability, found) {
    const { on, off, pause_frames, margin_frames } = this.settings;
    if (!this.inSpeech) {
      if (probability < on) return;
      this.inSpeech = true;
      this.start = Math.max(this.frame - margin_frames, this.lastEnd);
      this.speech = new Array(this.frame - this.start).fill(0);
      this.voiced = 0;
      this.quiet = 0;
    }
    this.speech.push(probability);
    this.voiced += probability >= on ? 1 : 0;
    this.quiet = probability < off ? this.quiet + 1 : 0;
    if (this.quiet === pause_frames) {
      this.ended(this.frame + 1 - pause_frames + margin_frames, found);
      this.inSpeech = false;
    } else if (this.speech.length >= this.mostFrames) {
      const half = Math.floor(this.speech.length / 2);
      const later = this.speech.slice(half);
      const cut = half + later.indexOf(Math.min(...later));
      const rest = this.speech.slice(cut);
      this.ended(this.start + cut, found);
      this.start += cut;
      this.speech = rest;
      this.voiced = rest.filter((value) => value >= on).length;
    }
  }

  ended(end, found) {
    if (this.voiced < this.settings.least_frames) return;
    found.push({ start: this.start * FRAME, end: Math.min(end * FRAME, this.seen) });
    this.lastEnd = end;
  }
}

/** A hidden Markov model over the emotions, with a lag of one stretch. */
class Smoother {
  constructor(labels, { stay, full_seconds }) {
    this.labels = labels;
    this.stay = stay;
    this.fullSeconds = full_seconds;
    this.state = null;
    this.middle = 0;
  }

  /** The answer to the stretch before this one in the light of it, and the answer to this one so far. */
  take(shares, start, end) {
    const weight = Math.min(1, (end - start) / this.fullSeconds);
    const evidence = shares.map((share) => Math.max(share, SMALLEST_SHARE) ** weight);
    let before = null;
    let prior = evidence.map(() => 1 / this.labels);
    if (this.state) {
      const kept = this.stay ** Math.max(0, (start + end) / 2 - this.middle);
      const fresh = (1 - kept) / this.labels;
      const sum = evidence.reduce((a, b) => a + b);
      before = normalised(this.state.map((share, i) => share * (kept * evidence[i] + fresh * sum)));
      prior = this.state.map((share) => kept * share + fresh);
    }
    this.state = normalised(prior.map((share, i) => share * evidence[i]));
    this.middle = (start + end) / 2;
    return [before, this.state];
  }
}

function normalised(values) {
  const sum = values.reduce((a, b) => a + b);
  return values.map((value) => value / sum);
}

function silent(start, end) {
  return { start, end, speech: false, emotion: null, confidence: null, probabilities: {} };
}

/** Neighbours of one emotion as one segment, short pauses between them with it. */
function merged(segments, labels) {
  const found = [];
  let held = [];
  let pause = null;
  const join = () => {
    if (held.length) found.push(joined(held, labels));
    held = [];
  };
  for (const segment of segments) {
    if (!segment.speech) {
      if (held.length && segment.end - segment.start <= JOINED_SECONDS) {
        pause = segment;
        continue;
      }
      join();
      found.push(segment);
    } else if (held.length && segment.emotion === held[0].emotion) {
      held.push(segment);
    } else {
      join();
      if (pause) found.push(pause);
      held = [segment];
    }
    pause = null;
  }
  join();
  if (pause) found.push(pause);
  return found;
}

function joined(parts, labels) {
  const seconds = parts.reduce((sum, part) => sum + part.end - part.start, 0);
  const share = (label) => parts.reduce((sum, part) => sum + part.probabilities[label] * (part.end - part.start), 0);
  const probabilities = Object.fromEntries(labels.map((label) => [label, share(label) / seconds]));
  const { emotion } = parts[0]; // the likeliest one of their mean, too
  return { start: parts[0].start, end: parts.at(-1).end, speech: true, emotion, confidence: probabilities[emotion], probabilities };
}
