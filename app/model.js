// The model in its workers: windows in, probabilities out.

import { minutesOf } from "./audio.js";
import { spokenIn } from "./timeline.js";
import { sharpness } from "./voice.js";

// each worker has a copy of the model, and one thread: long recordings keep several of them busy
const MOST_WORKERS = Math.min(3, navigator.hardwareConcurrency ?? 1);

export class Model {
  /** Load the model beside the page; `onProgress` gets the share that is there. */
  static async load(onProgress = () => {}) {
    const response = await fetch("model.json");
    if (!response.ok) throw new Error("The model's description is missing.");
    const model = new Model(await response.json());
    model.addWorker(onProgress);
    await model.workers[0].loaded;
    return model;
  }

  constructor(about) {
    this.about = about;
    this.workers = [];
    this.voice = null;
  }

  addWorker(onProgress) {
    const worker = new Lane(onProgress);
    worker.loaded = worker.call("load", { speaker: this.about.speaker, bytes: this.about.bytes });
    if (this.voice) worker.call("use", { voice: this.voice });
    this.workers.push(worker);
    return worker;
  }

  /** Where the least work waits; another worker where all have some. */
  call(kind, rest, transferred) {
    let best = this.workers.reduce((a, b) => (b.pending.size < a.pending.size ? b : a));
    if (best.pending.size > 1 && this.workers.length < MOST_WORKERS) best = this.addWorker();
    return best.call(kind, rest, transferred);
  }

  /** The probabilities of one clip; with no voice where `isOfNobody`. */
  answer(samples, isOfNobody = false) {
    return this.call("answer", { samples, isOfNobody });
  }

  /** Who speaks from now on; null where that is not known. */
  async use(voice) {
    const { mean, variance, head } = voice ?? {};
    this.voice = voice && { mean, variance, head, sharpness: sharpness(voice, this.about.speaker) };
    await Promise.all(this.workers.map((worker) => worker.call("use", { voice: this.voice })));
  }

  /** The windows of a recording in which somebody speaks: {samples, start, seconds}. */
  async speech(recording) {
    const rate = this.about.sample_rate;
    const found = [];
    for (const { start, sound, windows } of minutesOf(recording, this.about)) {
      const spoken = await spokenIn(sound, windows, this);
      const kept = windows.filter((_, i) => spoken[i]);
      found.push(...kept.map((each) => ({ samples: each.samples, start: (start + each.start) / rate, seconds: each.length / rate })));
    }
    return found;
  }

  /** The mean over the windows with speech; null where nobody speaks. */
  async predict(samples) {
    const windows = await this.speech(samples);
    if (windows.length === 0) return null;
    const answers = await Promise.all(windows.map((window) => this.answer(window.samples)));
    return this.named(this.about.labels.map((_, i) => answers.reduce((sum, answer) => sum + answer[i], 0) / answers.length));
  }

  named(shares) {
    const probabilities = Object.fromEntries(this.about.labels.map((label, i) => [label, shares[i]]));
    const best = shares.indexOf(Math.max(...shares));
    return { emotion: this.about.labels[best], confidence: shares[best], probabilities };
  }
}

class Lane {
  constructor(onProgress = () => {}) {
    this.pending = new Map();
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data: { id, answer, error, progress } }) => {
      if (progress !== undefined) return onProgress(progress);
      const { resolve, reject } = this.pending.get(id);
      this.pending.delete(id);
      if (error === undefined) resolve(answer);
      else reject(new Error(error));
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.pending.values()) reject(new Error(event.message || "The worker cannot start."));
      this.pending.clear();
    };
  }

  call(kind, rest, transferred = []) {
    const id = crypto.randomUUID?.() ?? String(Math.random());
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      this.worker.postMessage({ id, kind, ...rest }, transferred);
    });
  }
}
