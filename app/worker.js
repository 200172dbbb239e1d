// Runs the model beside the page, so that the page never freezes.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { logMel } from "./spectrogram.js";

ort.env.logLevel = "error";
ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
// threads need cross-origin isolation; more than four gain nothing
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency ?? 1) : 1;

const HIDDEN = 128; // of the detector of speech
let session;
let population; // mean, variance and head of nobody in particular; none where the model takes no voice
let voice; // those of who speaks
let sharpness = 1; // of the answers with that voice
let detector; // loaded when a recording is long
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
  async load({ speaker }) {
    session = await create("model.onnx");
    population = speaker && statistics({ ...speaker.population, head: speaker.head });
    voice = population;
    return ort.env.wasm.numThreads;
  },

  use({ voice: given }) {
    voice = given ? statistics(given) : population;
    sharpness = given?.sharpness ?? 1;
  },

  async answer({ samples, isOfNobody }) {
    const given = isOfNobody ? population : voice;
    const waveform = tensor(samples, [1, samples.length]);
    const { probabilities, speech } = await session.run(given ? { waveform, ...given, weight: tensor([0]) } : { waveform });
    const shares = sharpened(Array.from(probabilities.data), isOfNobody ? 1 : sharpness);
    return { probabilities: shares, speech: Boolean(speech.data[0]) };
  },

  async enrol({ waveform, weight }) {
    const given = { waveform: tensor(waveform, [weight.length, waveform.length / weight.length]), weight: tensor(weight) };
    const { speaker_mean, speaker_variance } = await session.run({ ...given, ...population });
    return { mean: speaker_mean.data, variance: speaker_variance.data };
  },

  async speech({ rows, frames, state }) {
    detector ??= await create("speech.onnx");
    const [h, c] = (state ?? [0, 0].map(() => new Float32Array(HIDDEN))).map((values) => tensor(values, [1, 1, HIDDEN]));
    const { speech_probs, hn, cn } = await detector.run({ input: tensor(rows, [frames, rows.length / frames]), h, c });
    return { speech: Array.from(speech_probs.data), state: [hn.data, cn.data] };
  },

  spectrogram: ({ samples, settings, most }) => logMel(samples, settings, most),
};

function create(name) {
  const url = new URL(name, import.meta.url).href;
  return ort.InferenceSession.create(url, { executionProviders: ["wasm"], logSeverityLevel: 3 });
}

/** As if the logits had been multiplied by it. */
function sharpened(probabilities, times) {
  const powers = probabilities.map((probability) => probability ** times);
  const total = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / total);
}

/** Of a voice, whose head is its rows or null; of nobody, whose head is its shape. */
function statistics({ mean, variance, head }) {
  const shape = population?.head.dims ?? head;
  const values = population && head ? head.flat() : new Float32Array(shape[0] * shape[1]);
  return { mean: tensor(mean), variance: tensor(variance), head: tensor(values, shape) };
}

function tensor(values, shape = [values.length]) {
  return new ort.Tensor("float32", Float32Array.from(values), shape);
}
