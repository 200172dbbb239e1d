// From a file or samples to the windows that the model hears; the same steps as ser_gpu/windows.py.

export const PIECE_SECONDS = 60;
export const SHORTEST_SECONDS = 0.05;
const MOST_HEADER = 2 ** 16; // bytes of a WAV file before its samples
const PCM = [1, 3, 0xfffe]; // formats of WAV without compression
const FRAMES = 49; // of MP3, about a second: a whole number of samples at 16 kHz, whatever the rate of the file
const KILOBITS = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]; // a second, of MPEG-1
const LOWER_KILOBITS = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]; // of MPEG-2
const SMALLEST_PEAK = 1e-6; // of the largest sample: what float32 leaves of a constant
const SMALLEST_POWER = 1e-10;
const REMEMBERED = 0.92; // share of a power that still counts a quarter of a second later
const CANCELLED = 0.0999; // of the channels' mean power: 10 dB

/** Whatever the browser decodes, as mono samples at a rate; throws where it decodes nothing. */
export async function decode(file, rate) {
  const whole = async (blob) => {
    const context = new OfflineAudioContext(1, 1, rate); // decodeAudioData resamples to its rate
    return mono(await context.decodeAudioData(await blob.arrayBuffer()));
  };
  const { header, cuts, seconds } = (await wavOf(file)) ?? (await mp3Of(file)) ?? { cuts: [] };
  if (cuts.length < PIECE_SECONDS + 3) return whole(file);
  const samples = new Float32Array(Math.ceil(cuts.length * seconds * rate));
  const samplesTo = (cut) => Math.round(cut * seconds * rate);
  let [end, missing] = [0, 0];
  for (let from = 0; from < cuts.length - 1; from += PIECE_SECONDS) {
    // a cut more on each side, since the decoder and the resampler would hear silence there; the next part writes over it
    const first = Math.max(0, from - 1);
    const last = Math.min(cuts.length - 1, from + PIECE_SECONDS + 1);
    const content = file.slice(cuts[first], cuts[last]);
    header?.setUint32(header.byteLength - 4, content.size, true);
    const found = await whole(new Blob(header ? [header, content] : [content]));
    if (from === 0 && !header) missing = samplesTo(last) - found.length; // what an encoder had put before the sound
    const at = samplesTo(from) - (from && missing);
    const part = found.subarray(samplesTo(from) - samplesTo(first));
    samples.set(part.subarray(0, samples.length - at), at);
    end = at + part.length;
  }
  return samples.subarray(0, end);
}

/** What is before the samples of a WAV file, and where each second begins; null of what has no parts. */
async function wavOf(file) {
  const view = new DataView(await file.slice(0, MOST_HEADER).arrayBuffer());
  const name = (at) => String.fromCharCode(...new Uint8Array(view.buffer, at, 4));
  if (view.byteLength < 44 || name(0) !== "RIFF" || name(8) !== "WAVE") return null;
  for (let at = 12, second = 0; at + 24 <= view.byteLength; at += 8 + 2 * Math.ceil(view.getUint32(at + 4, true) / 2)) {
    if (name(at) === "fmt " && PCM.includes(view.getUint16(at + 8, true))) {
      second = view.getUint32(at + 12, true) * view.getUint16(at + 20, true);
    } else if (name(at) === "data" && second) {
      const end = Math.min(file.size, at + 8 + view.getUint32(at + 4, true));
      const cuts = Array.from({ length: Math.ceil((end - at - 8) / second) }, (_, i) => at + 8 + i * second);
      return { header: new DataView(view.buffer.slice(0, at + 8)), cuts: [...cuts, end], seconds: 1 };
    }
  }
  return null;
}

/** Where groups of frames of an MP3 file begin; null of what is none. */
async function mp3Of(file) {
  const start = new Uint8Array(await file.slice(0, 10).arrayBuffer());
  const isTagged = String.fromCharCode(...start.subarray(0, 3)) === "ID3";
  if (!isTagged && !frameOf(start, 0)) return null;
  const bytes = new Uint8Array(await file.arrayBuffer());
  const cuts = [];
  let seconds = 0;
  let at = isTagged ? 10 + start.subarray(6).reduce((size, value) => 128 * size + value, 0) : 0;
  for (let frame, count = 0; (frame = frameOf(bytes, at)); count++, at += frame.size) {
    if (count % FRAMES === 0) cuts.push(count && at);
    seconds = FRAMES * frame.seconds;
  }
  return bytes.length - at < MOST_HEADER ? { cuts: [...cuts, bytes.length], seconds } : null; // else it is not understood
}

/** Bytes and seconds of a frame of MPEG audio, layer 3; null of what is none. */
function frameOf(bytes, at) {
  const [sync, kind, rates] = bytes.subarray(at, at + 3);
  if (sync !== 0xff || (kind & 0xe6) !== 0xe2) return null;
  const version = (kind >> 3) & 3; // 3: MPEG-1; 2 and 0 halve the rates
  const rate = [44_100, 48_000, 32_000][(rates >> 2) & 3] / [4, NaN, 2, 1][version];
  const samples = version === 3 ? 1152 : 576;
  const size = Math.floor((samples * 125 * (version === 3 ? KILOBITS : LOWER_KILOBITS)[rates >> 4]) / rate) + ((rates >> 1) & 1);
  return size > 0 ? { size, seconds: samples / rate } : null;
}

/** All of them in one array. */
export function joined(...parts) {
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Samples at another rate, by the browser's resampler. */
export async function resample(samples, from, to) {
  if (from === to || samples.length === 0) return samples;
  const context = new OfflineAudioContext(1, Math.ceil((samples.length * to) / from), to);
  const buffer = context.createBuffer(1, samples.length, from);
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

/** The mean of the channels; of a quarter of a second in which they cancel, the loudest: Mixer of audio/samples.py. */
function mono(buffer) {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  if (channels.length === 1) return channels[0];
  const size = Math.floor(buffer.sampleRate / 4);
  const mixed = new Float32Array(buffer.length);
  let heard = [...channels, mixed].map(() => 0);
  for (let start = 0; start < mixed.length; start += size) {
    const parts = channels.map((channel) => channel.subarray(start, start + size));
    const mean = new Float64Array(parts[0].length);
    for (const part of parts) {
      for (let i = 0; i < mean.length; i++) mean[i] += part[i] / parts.length;
    }
    const powers = [...parts, mean].map(variance);
    heard = powers.map((power, i) => power + REMEMBERED * heard[i]);
    const isCancelled = [powers, heard].some((each) => each.at(-1) * parts.length < CANCELLED * sum(each.slice(0, -1)));
    mixed.set(isCancelled ? parts[heard.indexOf(Math.max(...heard.slice(0, -1)))] : mean, start);
  }
  return mixed;
}

function sum(values) {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

function variance(values) {
  const mean = sum(values) / values.length;
  let total = 0;
  for (let i = 0; i < values.length; i++) total += (values[i] - mean) ** 2;
  return total / values.length;
}

/** Without offset, the peak at 1; what is constant becomes zero. */
export function level(samples) {
  const largest = peakOf(samples);
  const out = new Float32Array(samples.length);
  if (!largest) return out;
  let sum = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = samples[i] / largest;
    sum += out[i];
  }
  const mean = Math.fround(sum / out.length);
  for (let i = 0; i < out.length; i++) out[i] -= mean;
  const peak = peakOf(out);
  if (peak <= SMALLEST_PEAK) return out.fill(0);
  for (let i = 0; i < out.length; i++) out[i] /= peak;
  return out;
}

/** Each minute that is not too short: its first sample, its sound, and the windows of that. */
export function* minutesOf(samples, model) {
  const minute = PIECE_SECONDS * model.sample_rate;
  for (let start = 0; start < samples.length; start += minute) {
    const part = samples.subarray(start, start + minute);
    if (part.length < SHORTEST_SECONDS * model.sample_rate) continue;
    const sound = level(part);
    yield { start, sound, windows: windowsOf(sound, model) };
  }
}

/** {start, length, samples, peak} of those that are not silent. */
function windowsOf(samples, model) {
  const { hop, top_db } = model.trim;
  const [first, end] = bounds(samples, model.trim);
  const length = Math.min(model.window_samples, end - first);
  const starts = [];
  for (let at = first; at < end - length; at += Math.max(1, Math.floor(length / 2))) starts.push(at);
  starts.push(end - length); // the last one is flush with the end
  const missing = model.window_samples - length;
  const before = Math.floor(Math.floor(missing / 2) / hop) * hop; // whole hops, so that the frames stay the same
  const windows = starts.map((start) => {
    const sound = samples.subarray(start, start + length);
    const padded = new Float32Array(model.window_samples);
    padded.set(sound, before);
    return { start, length, samples: padded, peak: peakOf(sound) };
  });
  const least = Math.max(...windows.map((window) => window.peak)) * 10 ** (-top_db / 20);
  return windows.filter((window) => window.peak >= least);
}

export function peakOf(samples) {
  let peak = 0;
  for (const value of samples) peak = Math.max(peak, Math.abs(value));
  return peak;
}

/** First sample of the sound and first sample after it: frames within `top_db` of the loudest one. */
function bounds(samples, { frame_length, hop, top_db }) {
  const frames = Math.floor(samples.length / hop) + 1;
  const perFrame = frame_length / hop;
  const half = frame_length / 2;
  const blocks = new Float64Array(frames + perFrame - 1);
  for (let block = 0; block < blocks.length; block++) {
    const from = Math.max(0, block * hop - half);
    const to = Math.min(samples.length, (block + 1) * hop - half);
    for (let i = from; i < to; i++) blocks[block] += samples[i] * samples[i];
  }
  const decibels = Array.from({ length: frames }, (_, frame) => {
    let power = 0;
    for (let i = 0; i < perFrame; i++) power += blocks[frame + i];
    return 10 * Math.log10(Math.max(SMALLEST_POWER, power / frame_length));
  });
  const least = decibels.reduce((a, b) => Math.max(a, b)) - top_db;
  const first = decibels.findIndex((value) => value > least);
  const last = decibels.findLastIndex((value) => value > least);
  const end = Math.min((last + 1) * hop, samples.length);
  return [Math.min(first * hop, end - 1), end];
}
