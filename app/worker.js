// Runs the model beside the page, so that the page never freezes.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { logMel } from "./spectrogram.js";

ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
// threads need cross-origin isolation; more than four gain nothing
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency ?? 1) : 1;

let session;
let waiting = Promise.resolve(); // one call after the other

self.onmessage = ({ data: { id, kind, ...rest } }) => {
  waiting = waiting.then(async () => {
    try {
      self.postMessage({ id, answer: await calls[kind](rest) });
    } catch (error) {
      self.postMessage({ id, error: String(error?.message ?? error) });
    }
  });
};

const calls = {
  async load({ url }) {
    session = await ort.InferenceSession.create(url, { executionProviders: ["wasm"] });
    return ort.env.wasm.numThreads;
  },

  answer: ({ samples }) => answer(samples),

  spectrogram: ({ samples, settings, most }) => logMel(samples, settings, most),
};

async function answer(samples) {
  const waveform = new ort.Tensor("float32", samples, [1, samples.length]);
  const { probabilities, speech } = await session.run({ waveform });
  return { probabilities: Array.from(probabilities.data), speech: Boolean(speech.data[0]) };
}
