// The model in its worker: windows in, probabilities out.

import { windowsOf } from "./audio.js";
import { sharpness } from "./voice.js";

export class Model {
  /** Load the model beside the page. */
  static async load() {
    const response = await fetch("model.json");
    if (!response.ok) throw new Error("The model's description is missing.");
    const about = await response.json();
    const model = new Model(about);
    model.threads = await model.call("load", { speaker: about.speaker });
    return model;
  }

  constructor(about) {
    this.about = about;
    this.pending = new Map();
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data: { id, answer, error } }) => {
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

  call(kind, rest) {
    const id = crypto.randomUUID?.() ?? String(Math.random());
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      this.worker.postMessage({ id, kind, ...rest });
    });
  }

  /** The probabilities of one clip, and whether somebody speaks in it; of nobody in particular, without the voice. */
  answer(samples, isOfNobody = false) {
    return this.call("answer", { samples, isOfNobody });
  }

  /** Who speaks from now on; null is nobody in particular. */
  use(voice) {
    const { mean, variance, head } = voice ?? {};
    return this.call("use", { voice: voice && { mean, variance, head, sharpness: sharpness(voice, this.about.speaker) } });
  }

  /** The mean over the windows with speech; null where nobody speaks. */
  async predict(samples, onProgress = () => {}) {
    const windows = windowsOf(samples, this.about);
    const answers = [];
    for (const [at, { samples: window }] of windows.entries()) {
      onProgress(at, windows.length);
      const { probabilities, speech } = await this.answer(window);
      if (speech) answers.push(probabilities);
    }
    if (answers.length === 0) return null;
    return this.named(this.about.labels.map((_, i) => average(answers.map((answer) => answer[i]))));
  }

  named(shares) {
    const probabilities = Object.fromEntries(this.about.labels.map((label, i) => [label, shares[i]]));
    const best = shares.indexOf(Math.max(...shares));
    return { emotion: this.about.labels[best], confidence: shares[best], probabilities };
  }
}

function average(values) {
  return values.reduce((a, b) => a + b) / values.length;
}
