// One answer on the page: the emotion or the shares of time, bars, pictures, segments, playback and downloads.

import { clock, colourOf, drawSpectrogram, drawWaveform, percent, showBars, showSegments } from "./draw.js";
import { HISTORY_SECONDS } from "./live.js";
import { framesOf } from "./spectrogram.js";
import { RATE } from "./timeline.js";

const SUMMED = 3; // emotions in a summary
const MOST_FRAMES = 720; // of the spectrogram

const $ = (id) => document.getElementById(id);

export class Result {
  constructor(loading) {
    this.loading = loading;
    this.view = null; // what the waveform shows
    this.answer = null;
    this.playing = null;
    new ResizeObserver(() => this.redraw()).observe($("waveform"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    matchMedia("(forced-colors: active)").addEventListener("change", () => this.redraw());
    $("waveform").addEventListener("click", ({ offsetX }) => this.playAt(offsetX / $("waveform").clientWidth));
    saves($("json"), "emotion.json", "application/json", () => JSON.stringify({ ...this.answer, offset: undefined }, null, 2));
    saves($("csv"), "emotion.csv", "text/csv", () => this.csv());
    $("play").addEventListener("click", () => this.toggle($("play"), this.view.offset, this.view.offset + this.view.seconds));
  }

  /** All of an answer, with the sound from `answer.offset` on. */
  async show(answer, samples) {
    const model = await this.loading;
    const { mel, sample_rate } = model.about;
    $("result").hidden = false;
    if (this.view?.samples === samples && !this.view.isLive) return this.update(answer);
    this.stop();
    const view = this.prepare(answer, samples, sample_rate);
    this.update(answer);
    $("play").hidden = false;
    $("spectrogram").hidden = false;
    const frames = framesOf(samples, mel, MOST_FRAMES);
    const settings = { ...mel, sample_rate };
    const bands = await model.call("spectrogram", { frames, settings }, [frames.buffer]).catch(() => null); // only a picture
    if (!bands || this.view !== view) return;
    $("spectrogram").setAttribute("aria-label", `Log-mel spectrogram, ${mel.f_min} to ${mel.f_max} Hz`);
    this.drawBands = () => drawSpectrogram($("spectrogram"), bands, mel.top_db);
    this.drawBands();
  }

  /** What is heard now, and the last minute. */
  showLive(answer, samples) {
    this.stop();
    $("result").hidden = false;
    this.prepare(answer, samples, RATE, HISTORY_SECONDS).isLive = true;
    this.update(answer, true);
    $("play").hidden = true;
    $("spectrogram").hidden = true;
  }

  prepare(answer, samples, rate, seconds = samples.length / rate) {
    const offset = answer.offset ?? 0;
    this.view = { samples, rate, offset, seconds, segments: [], labels: answer.labels };
    this.drawBands = () => {};
    $("spectrogram").width = 0; // it was of another recording
    return this.view;
  }

  update(answer, isLive = false) {
    this.answer = answer;
    this.view.segments = answer.segments;
    const { file, labels, emotion, confidence, segments, seconds } = answer;
    $("name").textContent = file;
    $("answer").hidden = !emotion && !isLive;
    $("answer").classList.toggle("nobody", !emotion);
    $("emotion").textContent = emotion ?? "nobody speaks";
    $("confidence").textContent = emotion ? percent(confidence) : "";
    if (emotion) $("answer").style.setProperty("--colour", `var(${colourOf(emotion, labels)})`);
    const isOverTime = segments.length > 1 || !emotion;
    const shares = sharesOfTime(segments, labels);
    $("about-time").hidden = Boolean(emotion) || isLive;
    $("about-time").textContent = `${clock(seconds)}, in ${clock(spokenSeconds(segments))} of it somebody speaks. Shares of that time:`;
    const bars = emotion ? Object.entries(answer.probabilities) : isLive ? labels.map((label) => [label, 0]) : shares.filter(([, share]) => share > 0);
    if (!isLive) bars.sort((a, b) => b[1] - a[1]); // live ones keep their places
    $("bars").caption.textContent = emotion ? "Probability of each emotion" : "Share of the time with speech";
    showBars($("bars"), bars, labels);
    $("over-time").hidden = !isOverTime || isLive;
    if (!isLive) showSegments($("segments"), segments, labels, ({ start, end }, button) => this.toggle(button, start, end));
    $("waveform").setAttribute("aria-label", `Waveform, ${clock(seconds, true)}, in the colours of the emotions`);
    this.redraw();
  }

  redraw() {
    if (!this.view || !$("waveform").clientWidth) return;
    drawWaveform($("waveform"), this.view);
    this.drawBands();
  }

  /** One line: the emotion, or the most frequent ones. */
  summary({ emotion, confidence, segments, seconds, labels }) {
    if (emotion) return `${emotion}, ${percent(confidence)}`;
    const shares = sharesOfTime(segments, labels).sort((a, b) => b[1] - a[1]);
    const named = shares.slice(0, SUMMED).filter(([, share]) => share > 0);
    return `${clock(seconds)}, ${named.map(([label, share]) => `${label} ${percent(share, 0)}`).join(", ") || "nobody speaks"}`;
  }

  /** The segment at a place of the waveform, or from there on. */
  playAt(share) {
    const { offset, seconds } = this.view;
    const time = offset + share * seconds;
    const spoken = this.answer.segments.filter(({ speech }) => speech);
    const at = spoken.findIndex(({ start, end }) => start <= time && time < end);
    if ($("play").hidden || at < 0) return;
    const { start, end } = spoken[at];
    this.toggle($("over-time").hidden ? $("play") : $("segments").children[at].firstChild, start, end);
  }

  toggle(button, start, end) {
    const isPlaying = this.playing?.button === button;
    this.stop();
    if (!isPlaying) this.play(button, start, end);
  }

  play(button, start, end) {
    const { samples, rate, offset, seconds } = this.view;
    const from = Math.max(0, start - offset);
    const part = samples.subarray(Math.floor(from * rate), Math.ceil((end - offset) * rate));
    const context = new AudioContext();
    const buffer = context.createBuffer(1, part.length, rate);
    buffer.copyToChannel(part, 0);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    source.start();
    const playing = { button, context };
    this.playing = playing;
    source.onended = () => this.playing === playing && this.stop();
    button.setAttribute("aria-pressed", "true");
    if (button === $("play")) button.textContent = "Stop playing";
    $("playhead").hidden = false;
    const move = () => {
      if (this.playing !== playing) return;
      $("playhead").style.left = `${(100 * (from + context.currentTime)) / seconds}%`;
      requestAnimationFrame(move);
    };
    move();
  }

  stop() {
    if (!this.playing) return;
    const { button, context } = this.playing;
    this.playing = null;
    context.close();
    button.removeAttribute("aria-pressed");
    $("play").textContent = "Play";
    $("playhead").hidden = true;
  }

  /** With the names that ser-gpu timeline gives. */
  csv() {
    const { labels, segments } = this.answer;
    const share = (value) => value?.toFixed(4) ?? "";
    const row = ({ start, end, speech, emotion, confidence, probabilities }) => [
      ...[start.toFixed(3), end.toFixed(3), Number(speech), emotion ?? "", share(confidence)],
      ...labels.map((label) => share(probabilities[label])),
    ];
    const head = ["start", "end", "speech", "emotion", "confidence", ...labels];
    return [head, ...segments.map(row)].map((line) => `${line.join(",")}\n`).join("");
  }
}

function sharesOfTime(segments, labels) {
  const total = spokenSeconds(segments) || 1;
  return labels.map((label) => {
    const own = segments.filter(({ emotion }) => emotion === label);
    return [label, own.reduce((sum, { start, end }) => sum + end - start, 0) / total];
  });
}

function spokenSeconds(segments) {
  return segments.reduce((sum, { start, end, speech }) => sum + (speech ? end - start : 0), 0);
}

/** A button that saves what `text` gives. */
export function saves(button, name, type, text) {
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text()], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
