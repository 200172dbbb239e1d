// Where somebody speaks, and the emotions over time; the same steps as ser_gpu/timeline and ser_gpu/audio/silero.py.

import { joined, level, release, resample } from "./audio.js";

export const RATE = 16_000; // Hz that the detector of speech hears
export const SHORT_SECONDS = 6; // up to here a recording is one segment
export const FRAME = 512;
export const BLOCK = 16 * FRAME;
const CONTEXT = 64; // samples around a frame that the detector hears too
const WINDOW = 256;
const HOP = 128;
const BLOCKS_AT_ONCE = 40;
const AHEAD = 6; // stretches that are being answered
const LAG_SECONDS = 1;
const LEAD_SECONDS = 0.25; // heard before the first window: the detector is late where speech begins at once
const JOINED_SECONDS = 0.5;
const LEVEL = 0.1;
const SMALLEST_LEVEL = 1e-7;
const LARGEST = 4;
const LEVEL_FRAMES = 312;
const LOUD_SHARE = 0.9;
const LOUD_SHARE_OF_BLOCK = 0.75;
const SMALLEST_SHARE = 1e-12;

/** The segments of a recording; `onFound` gets those that there are so far, and the share that was heard. */
export async function timelineOf(samples, model, cancelled, onFound) {
  const heard = await resample(samples, model.about.sample_rate, RATE);
  const timeline = new Timeline(model);
  const size = BLOCK * BLOCKS_AT_ONCE;
  let hearing = timeline.hear(heard.subarray(0, size));
  for (let at = size; ; at += size) {
    await hearing;
    if (at >= heard.length) break;
    hearing = timeline.hear(heard.subarray(at, at + size)); // while answers come
    hearing.catch(() => {});
    await timeline.settle(AHEAD);
    cancelled.throwIfAborted();
    onFound(timeline.segments, timeline.settled / heard.length);
  }
  await timeline.close();
  cancelled.throwIfAborted();
  return timeline.segments;
}

/** Sound at RATE in, a whole number of blocks at a time but for the last; segments without gaps out. */
export class Timeline {
  constructor(model) {
    this.model = model;
    this.speech = new Speech(model);
    this.cuts = new SpeechCuts(model.about);
    this.smoother = new Smoother(model.about.labels.length, model.about.timeline);
    this.kept = new Float32Array(0); // what a stretch may still need
    this.keptStart = 0;
    this.blocks = []; // heard, and not settled
    this.asked = 0; // stretches in them
    this.stretches = []; // their segments
    this.waiting = null; // a stretch that waits for the next one
    this.given = 0;
    this.settled = 0;
  }

  /** Neighbours of one emotion merged. */
  get segments() {
    return merged(this.stretches, this.model.about.labels);
  }

  async hear(samples) {
    const speech = await this.speech.next(samples);
    const before = this.kept;
    this.kept = joined(before, samples);
    release(before);
    for (let at = 0; at < samples.length; at += BLOCK) {
      const count = Math.min(BLOCK, samples.length - at);
      const found = this.cuts.take(speech.slice(at / FRAME, (at + BLOCK) / FRAME), count);
      this.ask(found);
    }
    const needed = Math.max(this.keptStart, this.cuts.needed * FRAME);
    this.kept = this.kept.slice(needed - this.keptStart);
    this.keptStart = needed;
  }

  ask(stretches) {
    const answers = stretches.map(({ start, end }) => {
      const answer = this.answer(this.kept.subarray(start - this.keptStart, end - this.keptStart));
      answer.catch(() => {}); // it is awaited later
      return { start, end, answer };
    });
    this.asked += answers.length;
    this.blocks.push({ answers, seen: this.cuts.seen, inSpeech: this.cuts.inSpeech });
  }

  async answer(stretch) {
    return this.model.answer(await resample(level(stretch), RATE, this.model.about.sample_rate));
  }

  /** Take the answers in order until at most so many are missing. */
  async settle(most = 0) {
    while (this.blocks.length && (this.asked > most || this.blocks[0].answers.length === 0)) {
      const { answers, seen, inSpeech } = this.blocks.shift();
      this.asked -= answers.length;
      for (const { start, end, answer } of answers) {
        const [before, soFar] = this.smoother.take(await answer, start / RATE, end / RATE);
        if (this.waiting) this.waiting.shares = before;
        this.finish();
        this.waiting = { start, end, shares: soFar };
      }
      if (this.waiting && !inSpeech && seen - this.waiting.end > LAG_SECONDS * RATE) this.finish();
      this.settled = seen;
    }
  }

  async close() {
    this.ask(this.cuts.close());
    await this.settle();
    this.finish();
    this.gap(this.cuts.seen);
  }

  finish() {
    if (!this.waiting) return;
    const { start, end, shares } = this.waiting;
    this.gap(start);
    this.stretches.push({ start: start / RATE, end: end / RATE, speech: true, ...this.model.named(shares) });
    this.given = end;
    this.waiting = null;
  }

  gap(end) {
    if (end > this.given) this.stretches.push(silent(this.given / RATE, end / RATE));
    this.given = Math.max(this.given, end);
  }
}

/** In which windows of a sound somebody speaks, as `predict` decides it. */
export async function spokenIn(sound, windows, model) {
  const { sample_rate, timeline: settings } = model.about;
  const ratio = sample_rate / RATE;
  const first = Math.max(0, windows[0].start - Math.round(LEAD_SECONDS * sample_rate));
  const last = windows.at(-1);
  const heard = await resample(sound.slice(first, last.start + last.length), sample_rate, RATE);
  const cuts = new SpeechCuts(model.about);
  const stretches = [...cuts.take(await new Speech(model).next(heard), heard.length), ...cuts.close()];
  const least = ratio * FRAME * (settings.margin_frames + settings.least_frames); // a margin alone holds no voice
  const spoken = windows.map(({ start, length }) =>
    stretches.some((each) => {
      const [from, to] = [first + ratio * each.start, first + ratio * each.end];
      return Math.min(start + length, to) - Math.max(start, from) >= Math.min(least, to - from);
    }),
  );
  return spoken.some(Boolean) ? spoken : Array(windows.length).fill(await speaks(heard, model));
}

/** Whether there is a tenth of a second of speech at one level. */
async function speaks(samples, model) {
  const heard = new Float32Array(Math.max(3, Math.ceil(samples.length / FRAME)) * FRAME);
  heard.set(samples);
  const levels = levelsOf(heard).filter((value) => value > 0).sort((a, b) => a - b);
  const gain = LEVEL / Math.max(levels[Math.floor(LOUD_SHARE * levels.length)] ?? 0, SMALLEST_LEVEL);
  const loud = heard.map((value) => Math.min(LARGEST, Math.max(-LARGEST, value * gain)));
  const speech = await new Speech(model).of(loud);
  return speech.sort((a, b) => b - a)[2] >= model.about.speech_threshold;
}

/** The probability of speech every 32 ms. */
class Speech {
  constructor(model) {
    this.model = model;
    this.levels = []; // of the last ten seconds of frames
    this.context = new Float32Array(CONTEXT);
    this.state = null;
  }

  /** Each block at one level. */
  next(samples) {
    const levelled = new Float32Array(Math.ceil(samples.length / FRAME) * FRAME);
    for (let at = 0; at < samples.length; at += BLOCK) {
      const block = samples.subarray(at, at + BLOCK);
      const own = levelsOf(block);
      this.levels = [...this.levels, ...own].slice(-LEVEL_FRAMES);
      const loud = Math.max(quantile(this.levels, LOUD_SHARE), quantile(own, LOUD_SHARE_OF_BLOCK), SMALLEST_LEVEL);
      const gain = Math.fround(LEVEL / loud);
      block.forEach((value, i) => (levelled[at + i] = value * gain));
    }
    const speech = this.of(levelled);
    release(levelled);
    return speech;
  }

  /** Of whole frames as they are. */
  async of(samples) {
    const heard = joined(this.context, samples);
    const rows = new Float32Array((samples.length / FRAME) * 4 * WINDOW);
    for (let row = 0, from = 0; from < samples.length; from += FRAME, row += 4 * WINDOW) {
      for (let i = 0; i < 4; i++) rows.set(heard.subarray(from + i * HOP, from + i * HOP + WINDOW), row + i * WINDOW);
      const end = from + CONTEXT + FRAME;
      for (let i = 0; i < CONTEXT; i++) rows[row + 4 * WINDOW - CONTEXT + i] = heard[end - 2 - i]; // reflected
    }
    this.context = heard.slice(-CONTEXT);
    release(heard);
    const { speech, state } = await this.model.call("speech", { rows, state: this.state }, [rows.buffer]);
    this.state = state;
    return speech;
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
  constructor({ window_samples, sample_rate, timeline }) {
    this.settings = timeline;
    this.mostFrames = Math.max(4, Math.floor(((window_samples / sample_rate) * RATE) / FRAME));
    this.framesSinceSpeech = Infinity;
    this.seen = 0;
    this.inSpeech = false;
    this.frame = 0;
    this.start = 0;
    this.lastEnd = 0;
    this.speech = [];
    this.voiced = 0;
    this.quiet = 0;
  }

  /** The first frame that a stretch to come may have. */
  get needed() {
    return this.inSpeech ? this.start : this.frame - this.settings.margin_frames;
  }

  /** The stretches that end in the next samples. */
  take(probabilities, count) {
    this.seen += count;
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
    this.framesSinceSpeech = probability >= on ? 0 : this.framesSinceSpeech + 1;
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
    if (held.length) found.push(mean(held, labels));
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

function mean(parts, labels) {
  const seconds = parts.reduce((sum, part) => sum + part.end - part.start, 0);
  const share = (label) => parts.reduce((sum, part) => sum + part.probabilities[label] * (part.end - part.start), 0);
  const probabilities = Object.fromEntries(labels.map((label) => [label, share(label) / seconds]));
  const { emotion } = parts[0]; // the likeliest one of their mean, too
  return { start: parts[0].start, end: parts.at(-1).end, speech: true, emotion, confidence: probabilities[emotion], probabilities };
}
