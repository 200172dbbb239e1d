// From a file or samples to the windows that the model hears; the same steps as ser_gpu/windows.py.

export const PIECE_SECONDS = 60;
export const SHORTEST_SECONDS = 0.05;
const LONG_BYTES = 2 ** 18; // a smaller file is decoded at once
const SMALLEST_PEAK = 1e-6; // of the largest sample: what float32 leaves of a constant
const SMALLEST_POWER = 1e-10;
const REMEMBERED = 0.92; // share of a power that still counts a quarter of a second later
const CANCELLED = 0.0999; // of the channels' mean power: 10 dB

/** Whatever the browser decodes, as mono samples at a rate; throws where it decodes nothing. */
export async function decode(file, rate) {
  const found = file.size > LONG_BYTES && (await decodeInParts(file, rate).catch(() => null));
  return found || decodeWhole(file, rate);
}

async function decodeWhole(blob, rate) {
  const context = new OfflineAudioContext(1, 1, rate); // decodeAudioData resamples to its rate
  return mono(await context.decodeAudioData(await blob.arrayBuffer()));
}

/** The same a minute at a time, which takes little memory; throws where the format is not known. */
async function decodeInParts(file, rate) {
  const media = await import("./media/mediabunny.min.mjs");
  const input = new media.Input({ formats: media.ALL_FORMATS, source: new media.BlobSource(file) });
  const track = await input.getPrimaryAudioTrack();
  const decoderConfig = await track.getDecoderConfig();
  const found = [];
  let packets = [];
  let missing = 0; // samples that the decoder leaves out at the start of a part
  const decodePackets = async (isLast) => {
    const format = track.codec === "aac" ? new media.Mp4OutputFormat() : new media.MkvOutputFormat();
    const output = new media.Output({ format, target: new media.BufferTarget() });
    const source = new media.EncodedAudioPacketSource(track.codec);
    output.addAudioTrack(source);
    await output.start();
    const [first, last] = [packets[0].timestamp, packets.at(-1).timestamp + packets.at(-1).duration];
    for (const packet of packets) await source.add(packet.clone({ timestamp: packet.timestamp - first }), { decoderConfig });
    await output.finalize();
    const part = await decodeWhole(new Blob([output.target.buffer]), rate);
    if (!isLast) missing = Math.round((last - first) * rate) - part.length; // the last part may be cut at its end
    found.push({ part, start: Math.round(first * rate) + missing });
    // the next part begins two seconds before, a second for each of the two, where a sample is: the rate may be another
    const offSample = ({ timestamp }) => Math.abs(timestamp * rate - Math.round(timestamp * rate));
    const starts = packets.filter(({ timestamp }) => timestamp >= last - 2.5 && timestamp <= last - 2);
    packets = packets.slice(packets.indexOf(starts.reduce((a, b) => (offSample(a) < offSample(b) ? a : b))));
  };
  for await (const packet of new media.EncodedPacketSink(track).packets()) {
    packets.push(packet);
    if (packet.timestamp - packets[0].timestamp >= PIECE_SECONDS + 2) await decodePackets(false);
  }
  if (!found.length) return null;
  await decodePackets(true);
  const origin = Math.max(0, found[0].start) + (track.codec === "mp3" && Math.round(rate * (await mp3Delay(file, track.sampleRate))));
  const samples = new Float32Array(found.at(-1).start - origin + found.at(-1).part.length);
  found.forEach(({ part, start }, i) => {
    // where a part begins and ends, decoder and resampler hear silence: its neighbour has that second
    const from = i ? rate : Math.max(0, -start);
    samples.set(part.subarray(from, i < found.length - 1 ? -rate / 2 : part.length), start - origin + from);
  });
  return samples;
}

/** Seconds that encoder and decoder have put before the sound of an MP3 file, where LAME's header says it. */
async function mp3Delay(file, rate) {
  const bytes = new Uint8Array(await file.slice(0, LONG_BYTES).arrayBuffer());
  const header = /(?:Xing|Info)\0{3}\x0f[^]{133}([^]{2})/.exec(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return header ? ((header[1].charCodeAt(0) << 4) + (header[1].charCodeAt(1) >> 4) + 529) / rate : 0;
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
