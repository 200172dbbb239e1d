// The model in its workers: windows in, probabilities out.

import { minutesOf } from "./audio.js";
import { spokenIn } from "./timeline.js";
import { sharpness } from "./voice.js";

// each worker has a copy of the model, and one thread: long recordings keep several of them busy
const MOST_WORKERS = Math.min(3, navigator.hardwareConcurrency ?? 1);
const RUNTIME = "ort/ort-wasm-simd-threaded.wasm";
const GRAPHS = ["model.onnx", "speech.onnx"];

export class Model {
  /** Load the model beside the page; `onProgress` gets the share that is there. */
  static async load(onProgress = () => {}) {
    const about = response("model.json").then((found) => found.json());
    const files = download(about, onProgress);
    files.catch(() => {}); // it is awaited later
    const model = new Model(await about, files);
    await model.grow();
    return model;
  }

  /** `files`: a promise of what each worker loads. */
  constructor(about, files) {
    this.about = about;
    this.files = files;
    this.workers = [];
    this.most = MOST_WORKERS;
    this.voice = null;
  }

  /** One more worker, which gets no work before it is ready. */
  grow() {
    const add = async () => {
      const worker = new Lane(() => (this.workers = this.workers.filter((each) => each !== worker)));
      try {
        await worker.call("load", { ...(await this.files), speaker: this.about.speaker });
        this.workers.push(worker); // first, so that it hears of every later voice
        await worker.call("use", { voice: this.voice });
      } catch (error) {
        worker.end(error);
        throw error;
      }
    };
    return (this.growing ??= add().finally(() => (this.growing = null)));
  }

  /** Where the least work waits; another worker where all have some. */
  async call(kind, rest, transferred) {
    if (this.workers.length === 0) await this.grow();
    const best = this.workers.reduce((a, b) => (b.pending.size < a.pending.size ? b : a));
    if (best.pending.size > 1 && this.workers.length < this.most) {
      this.grow().catch(() => (this.most = this.workers.length));
    }
    return best.call(kind, rest, transferred);
  }

  /** The probabilities of one clip, whose samples go to the worker; with no voice where `isOfNobody`. */
  answer(samples, isOfNobody = false) {
    return this.call("answer", { samples, isOfNobody }, [samples.buffer]);
  }

  /** Who speaks from now on; null where that is not known. */
  async use(voice) {
    const { mean, variance, head } = voice ?? {};
    this.voice = voice && { mean, variance, head, sharpness: sharpness(voice, this.about.speaker) };
    // one that ends has nothing to answer
    await Promise.allSettled(this.workers.map((worker) => worker.call("use", { voice: this.voice })));
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
  async predict(samples, isOfNobody = false) {
    const windows = await this.speech(samples);
    if (windows.length === 0) return null;
    const answers = await Promise.all(windows.map((window) => this.answer(window.samples, isOfNobody)));
    return this.named(this.about.labels.map((_, i) => answers.reduce((sum, answer) => sum + answer[i], 0) / answers.length));
  }

  named(shares) {
    const probabilities = Object.fromEntries(this.about.labels.map((label, i) => [label, shares[i]]));
    const best = shares.indexOf(Math.max(...shares));
    return { emotion: this.about.labels[best], confidence: shares[best], probabilities };
  }
}

/** The runtime, compiled once for all workers, and the graphs. */
async function download(about, onProgress) {
  let loaded = 0;
  const settings = { headers: { "Content-Type": "application/wasm" } }; // whatever the host says
  const counted = async (name) => {
    const [{ body }, { bytes }] = await Promise.all([response(name), about]);
    const total = [RUNTIME, ...GRAPHS].reduce((sum, each) => sum + bytes[each], 0);
    const transform = (chunk, out) => {
      onProgress((loaded += chunk.length) / total);
      out.enqueue(chunk);
    };
    return new Response(body.pipeThrough(new TransformStream({ transform })), settings);
  };
  const [runtime, ...graphs] = await Promise.all([
    WebAssembly.compileStreaming(counted(RUNTIME)),
    ...GRAPHS.map(async (name) => (await counted(name)).arrayBuffer()),
  ]);
  return { runtime, graphs };
}

async function response(name) {
  const found = await fetch(name);
  if (!found.ok) throw new Error(`${name} is missing.`);
  return found;
}

class Lane {
  constructor(onEnd) {
    this.pending = new Map();
    this.error = null; // what ended it
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data: { id, answer, error } }) => {
      const { resolve, reject } = this.pending.get(id);
      this.pending.delete(id);
      if (error === undefined) resolve(answer);
      else reject(new Error(error));
    };
    this.worker.onerror = ({ message }) => this.end(new Error(message || "The model cannot start."));
    this.onEnd = onEnd;
  }

  end(error) {
    this.error = error;
    this.worker.terminate();
    this.onEnd();
    for (const { reject } of this.pending.values()) reject(error);
  }

  call(kind, rest, transferred = []) {
    const id = crypto.randomUUID?.() ?? String(Math.random());
    return new Promise((resolve, reject) => {
      if (this.error) throw this.error;
      this.pending.set(id, { resolve, reject });
      this.worker.postMessage({ id, kind, ...rest }, transferred);
    });
  }
}
