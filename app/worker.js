// Runs the model beside the page, so that the page never freezes.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { release } from "./audio.js";
import { logMel } from "./spectrogram.js";

ort.env.logLevel = "error";
ort.env.wasm.numThreads = 1; // several workers are faster, and need no special headers

const HIDDEN = 128; // of the detector of speech
let session;
let detector;
let population; // mean, variance and head where no voice is given; none where the model takes no voice
let voice; // those of who speaks
let sharpness = 1; // of the answers with that voice
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
  async load({ runtime, graphs, speaker }) {
    // onnxruntime takes the bytes of its runtime alone, which each worker would keep and compile
    const { instantiate } = WebAssembly;
    WebAssembly.instantiate = async (_, imports) => ({ module: runtime, instance: await instantiate(runtime, imports) });
    ort.env.wasm.wasmBinary = new ArrayBuffer(0);
    // to optimise the graphs takes longer than it saves
    const settings = { executionProviders: ["wasm"], graphOptimizationLevel: "disabled", logSeverityLevel: 3 };
    session = await ort.InferenceSession.create(new Uint8Array(graphs[0]), settings);
    detector = await ort.InferenceSession.create(new Uint8Array(graphs[1]), settings);
    population = speaker && statistics({ ...speaker.population, head: speaker.head });
    voice = population;
  },

  use({ voice: given }) {
    voice = given ? statistics(given) : population;
    sharpness = given?.sharpness ?? 1;
  },

  async answer({ samples, isOfNobody }) {
    const given = isOfNobody ? population : voice;
    const waveform = tensor(samples, [1, samples.length]);
    const { probabilities } = await session.run(given ? { waveform, ...given, weight: tensor([0]) } : { waveform });
    release(samples);
    return sharpened(Array.from(probabilities.data), isOfNobody ? 1 : sharpness);
  },

  async enrol({ waveform, weight }) {
    const given = { waveform: tensor(waveform, [weight.length, waveform.length / weight.length]), weight: tensor(weight) };
    const found = await session.run({ ...given, ...population });
    const { speaker_mean: mean, speaker_variance: variance, features, probabilities } = found;
    return { mean: mean.data, variance: variance.data, features: features.data, probabilities: probabilities.data };
  },

  async speech({ rows, state }) {
    const [h, c] = (state ?? [0, 0].map(() => new Float32Array(HIDDEN))).map((values) => tensor(values, [1, 1, HIDDEN]));
    const { speech, hn, cn } = await detector.run({ rows: tensor(rows, [rows.length / 256, 256]), h, c });
    release(rows);
    return { speech: Array.from(speech.data), state: [hn.data, cn.data] };
  },

  spectrogram: ({ frames, settings }) => logMel(frames, settings),
};

/** As if the logits had been multiplied by it. */
function sharpened(probabilities, times) {
  const powers = probabilities.map((probability) => probability ** times);
  const total = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / total);
}

/** Of a voice, whose head is its rows or null; without one, when the head is its shape. */
function statistics({ mean, variance, head }) {
  const shape = population?.head.dims ?? head;
  const values = population && head ? head.flat() : new Float32Array(shape[0] * shape[1]);
  return { mean: tensor(mean), variance: tensor(variance), head: tensor(values, shape) };
}

function tensor(values, shape = [values.length]) {
  return new ort.Tensor("float32", values instanceof Float32Array ? values : Float32Array.from(values), shape);
}
