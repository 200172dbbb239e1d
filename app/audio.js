// From a file or samples to the windows that the model hears; the same steps as ser_gpu/windows.py.

export const PIECE_SECONDS = 60;
const PART_SECONDS = 30; // of a file that is decoded in parts
export const SHORTEST_SECONDS = 0.05;
const MOST_HEADER = 2 ** 16; // bytes of a WAV file before its samples
const PCM = [1, 3, 0xfffe]; // formats of WAV without compression
const LONG_BYTES = 2 ** 18; // a smaller file of another format is decoded at once
const MOST_COVER = 2 ** 22; // bytes, of a picture at the start of an MP3 file
const BEFORE_SECONDS = 0.8; // for a decoder to settle; ffmpeg leaves out what is more than a second before an edit
const MOST_SHIFT_SECONDS = 0.5; // from where a container says that a part begins: 6.5 ms in Opus, and gaps
const COMPARED_SECONDS = 0.25;
const SAME = 1e-5; // of the power: differences of rounding, in MP3 2e-6
const SIMILAR = 0.1; // as before, and the noise that AAC decoders make; where half a sample is missing, too
const SMALLEST_PEAK = 1e-6; // of the largest sample: what float32 leaves of a constant
const SMALLEST_POWER = 1e-10;
const REMEMBERED = 0.92; // share of a power that still counts a quarter of a second later
const CANCELLED = 0.0999; // of the channels' mean power: 10 dB

/** Whatever the browser decodes, as mono samples at a rate; throws where it decodes nothing. */
export async function decode(file, rate) {
  const whole = await decodeParts(file, rate).catch(() => null); // what only the browser understands, if anyone does
  return whole ?? mono(await decodeAt(rate, await file.arrayBuffer()));
}

function decodeAt(rate, bytes) {
  return new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes); // which resamples to its rate
}

/** The same in little memory, part by part; null of what is short, throws where the parts do not fit. */
async function decodeParts(file, rate) {
  const decoding = []; // two at once, on two cores
  let whole = new Float32Array(0); // with room for parts to come
  let before = null;
  let end = 0;
  let shift = 0; // of where a part is, from where the container says
  const place = async ({ second, size, decoded }) => {
    const samples = await decoded;
    const expected = Math.round(second * rate);
    const at = before ? startOf(samples, expected + shift, before, rate) : expected;
    shift = at - expected;
    end = at + samples.length;
    if (end > whole.length) {
      const larger = new Float32Array(before ? 1.5 * end : Math.max(end, (end * file.size) / size)); // what is not written takes no memory
      larger.set(whole);
      whole = larger;
    }
    const heard = before ? rate : 0; // before its first second the resampler heard silence, as after the end of the part before
    whole.set(samples.subarray(heard), at + heard);
    if (before) release(before.samples);
    before = { samples, at };
  };
  const wav = await wavOf(file);
  for await (const { bytes, second } of wav ? partsOfWav(file, wav) : partsOfPackets(file, rate)) {
    if (decoding.length === 2) await place(decoding.shift());
    decoding.push({ second, size: bytes.byteLength, decoded: decodeAt(rate, bytes).then(mono, () => null) });
  }
  if (decoding.length < 2) return null;
  for (const part of decoding) await place(part);
  return whole.subarray(0, end);
}

/** Where a part begins: near a sample, where it sounds as the part before does, around the loudest sample of both. */
function startOf(samples, expected, before, rate) {
  const size = COMPARED_SECONDS * rate;
  const shared = before.samples.subarray(expected + size - before.at, -size); // without what the resampler heard at the ends
  const loudest = shared.reduce((best, value, i) => (Math.abs(value) > Math.abs(shared[best]) ? i : best), 0);
  const from = Math.max(0, Math.min(loudest - size / 2, shared.length - size));
  const known = shared.subarray(from, from + size);
  const power = known.reduce((total, value) => total + value ** 2, 0);
  let [least, start] = [Infinity, expected];
  for (let i = 0; i < 2 * MOST_SHIFT_SECONDS * rate && least > SAME * power; i++) {
    const shift = i % 2 ? (i + 1) / 2 : -i / 2; // the nearest first
    const at = size + from - shift;
    let difference = 0;
    for (let j = 0; j < size && difference < least; j++) difference += (known[j] - samples[at + j]) ** 2;
    if (difference < least) [least, start] = [difference, expected + shift];
  }
  if (!(least <= SIMILAR * power)) throw new Error("the parts do not fit");
  return start;
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
      return { header: new DataView(view.buffer.slice(0, at + 8)), cuts: [...cuts, end] };
    }
  }
  return null;
}

/** Each part a WAV file that begins two seconds before the end of the part before. */
async function* partsOfWav(file, { header, cuts }) {
  if (cuts.length < PART_SECONDS + 3) return;
  for (let from = 0; from < cuts.length - 1; from += PART_SECONDS) {
    const second = Math.max(0, from - 1);
    const content = file.slice(cuts[second], cuts[Math.min(cuts.length - 1, from + PART_SECONDS + 1)]);
    header.setUint32(header.byteLength - 4, content.size, true);
    yield { bytes: await new Blob([header, content]).arrayBuffer(), second };
  }
}

/** The same of other formats: packets as an MP4 file, whose edit list says at which of their samples it begins. */
async function* partsOfPackets(file, rate) {
  if (file.size < LONG_BYTES) return;
  const media = await import("./media/mediabunny.min.mjs");
  const input = new media.Input({ formats: media.ALL_FORMATS, source: new media.BlobSource(file) });
  const track = await input.getPrimaryAudioTrack();
  const decoderConfig = await track.getDecoderConfig();
  const isMp3 = track.codec === "mp3";
  const origin = isMp3 ? (await samplesBefore(file)) / track.sampleRate : Math.max(0, await track.getFirstTimestamp());
  const fileOf = async ({ packets, second }) => {
    const output = new media.Output({ format: new media.Mp4OutputFormat(), target: new media.BufferTarget() });
    const source = new media.EncodedAudioPacketSource(track.codec);
    output.addAudioTrack(source);
    await output.start();
    const times = packets.map(({ timestamp }) => timestamp - origin);
    const start = second && track.codec === "vorbis" ? nearestSample(times, second, rate) : second;
    for (const [i, packet] of packets.entries()) {
      const duration = packet.duration || packets[i - 1]?.duration; // WebM does not say it of the last one
      const timed = packet.clone({ timestamp: times[i] - start, duration }); // before 0: decoded, but not heard
      await source.add(timed, { decoderConfig });
    }
    await output.finalize();
    return { bytes: output.target.buffer, second: start };
  };
  let end = 0;
  for await (const group of groupsOf(new media.EncodedPacketSink(track).packets(), origin)) {
    yield fileOf(group);
    end = group.packets.at(-1).timestamp + group.packets.at(-1).duration;
  }
  // of a file that breaks off, the browser may understand more
  if (end && (await track.getDurationFromMetadata()) > end + 1) throw new Error("the file breaks off");
}

/** The time that is nearest to a sample, of the half second from one on. ffmpeg cuts no packet of Vorbis. */
function nearestSample(times, from, rate) {
  const off = (time) => Math.abs(time * rate - Math.round(time * rate));
  return times.filter((time) => time >= from && time < from + 0.5).reduce((a, b) => (off(a) <= off(b) ? a : b));
}

/** The packets of each part, with those of some time before and after; none of what is short. */
async function* groupsOf(all, origin) {
  let [packets, second] = [[], 0];
  for await (const packet of all) {
    packets.push(packet);
    const seconds = packet.timestamp + packet.duration - origin;
    if (seconds < second + PART_SECONDS + 2) continue;
    yield { packets, second };
    second += PART_SECONDS;
    packets = packets.slice(packets.findLastIndex(({ timestamp }) => timestamp - origin <= second - BEFORE_SECONDS));
  }
  if (second) yield { packets, second };
}

/** What encoder and decoder have put before the sound of an MP3 file, in samples, where LAME says it. */
async function samplesBefore(file) {
  const bytes = new Uint8Array(await file.slice(0, MOST_COVER).arrayBuffer());
  const header = /(?:Xing|Info)\0{3}\x0f[^]{112}(?:LAME|Lav[cf])/.exec(new TextDecoder("latin1").decode(bytes));
  return header ? (bytes[header.index + 141] << 4) + (bytes[header.index + 142] >> 4) + 529 : 0;
}

/** Give the memory of an array back at once, not when the garbage collector comes to it: nobody gets what is sent here. */
export function release(array) {
  try {
    nobody.postMessage(null, [array.buffer]);
  } catch {
    // Safari does not give away the channels of an AudioBuffer
  }
}

const { port1: nobody, port2: closed } = new MessageChannel();
closed.close();

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
  channels.forEach(release);
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
