// The log-mel spectrogram that the page draws; the model computes its own.

const KNEE_HERTZ = 1000;
const HERTZ_PER_MEL = 200 / 3;
const KNEE_MEL = KNEE_HERTZ / HERTZ_PER_MEL;
const LOG_STEP = Math.log(6.4) / 27;

/** At most `most` frames of a recording, [frames x n_fft]. */
export function framesOf(samples, { n_fft, hop }, most) {
  const stride = Math.max(hop, Math.ceil(samples.length / most));
  const frames = new Float32Array((Math.floor(samples.length / stride) + 1) * n_fft);
  for (let at = 0; at < frames.length; at += n_fft) {
    const start = (at / n_fft) * stride - n_fft / 2;
    frames.set(samples.subarray(Math.max(0, start), start + n_fft), at + Math.max(0, -start));
  }
  return frames;
}

/** Decibels below the loudest cell, [bands][frames]. */
export function logMel(samples, { sample_rate, n_fft, n_mels, f_min, f_max, top_db }) {
  const frames = samples.length / n_fft;
  const window = Float64Array.from({ length: n_fft }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / n_fft));
  const filters = melFilters(sample_rate, n_fft, n_mels, f_min, f_max);
  const bands = Array.from({ length: n_mels }, () => new Float32Array(frames));
  const real = new Float64Array(n_fft);
  const imaginary = new Float64Array(n_fft);
  let loudest = -Infinity;
  for (let frame = 0; frame < frames; frame++) {
    for (let i = 0; i < n_fft; i++) real[i] = samples[frame * n_fft + i] * window[i];
    imaginary.fill(0);
    fft(real, imaginary);
    filters.forEach(({ from, weights }, band) => {
      let power = 0;
      weights.forEach((weight, i) => (power += weight * (real[from + i] ** 2 + imaginary[from + i] ** 2)));
      bands[band][frame] = 10 * Math.log10(Math.max(1e-10, power));
      loudest = Math.max(loudest, bands[band][frame]);
    });
  }
  for (const band of bands) band.forEach((value, i) => (band[i] = Math.max(-top_db, value - loudest)));
  return bands;
}

/** Slaney's triangles, each of the same area. */
function melFilters(rate, size, count, lowest, highest) {
  const [from, to] = [hertzToMel(lowest), hertzToMel(highest)];
  const edges = Array.from({ length: count + 2 }, (_, i) => melToHertz(from + ((to - from) * i) / (count + 1)));
  return Array.from({ length: count }, (_, band) => {
    const [left, centre, right] = edges.slice(band, band + 3);
    const first = Math.ceil((left * size) / rate);
    const last = Math.min(size / 2, Math.floor((right * size) / rate));
    const weights = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => {
      const hertz = ((first + i) * rate) / size;
      const height = Math.min((hertz - left) / (centre - left), (right - hertz) / (right - centre));
      return (Math.max(0, height) * 2) / (right - left);
    });
    return { from: first, weights };
  });
}

function hertzToMel(hertz) {
  return hertz < KNEE_HERTZ ? hertz / HERTZ_PER_MEL : KNEE_MEL + Math.log(hertz / KNEE_HERTZ) / LOG_STEP;
}

function melToHertz(mel) {
  return mel < KNEE_MEL ? mel * HERTZ_PER_MEL : KNEE_HERTZ * Math.exp((mel - KNEE_MEL) * LOG_STEP);
}

/** In place; the size is a power of two. */
function fft(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let half = 1; half < size; half *= 2) {
    for (let k = 0; k < half; k++) {
      const cos = Math.cos((-Math.PI * k) / half);
      const sin = Math.sin((-Math.PI * k) / half);
      for (let a = k; a < size; a += 2 * half) {
        const b = a + half;
        const x = real[b] * cos - imaginary[b] * sin;
        const y = real[b] * sin + imaginary[b] * cos;
        real[b] = real[a] - x;
        imaginary[b] = imaginary[a] - y;
        real[a] += x;
        imaginary[a] += y;
      }
    }
  }
}
