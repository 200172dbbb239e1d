// Answers while somebody speaks: the last seconds smoothed, and a minute of history.

import { joined, resample } from "./audio.js";
import { listen } from "./microphone.js";
import { BLOCK, FRAME, RATE, Timeline } from "./timeline.js";

export const HISTORY_SECONDS = 60;
const HEARD_SECONDS = 3;
const NEW_SHARE = 0.4; // of the shown probabilities, each half second

/** Listen until the job ends; {answer, samples} of the last minute, or null where nothing was heard. */
export async function live(model, job, { onBlock, onAnswer }) {
  const { labels, sample_rate } = model.about;
  const timeline = new Timeline(model);
  let fresh = []; // blocks that no one has heard
  let history = new Float32Array(0);
  let total = 0; // samples at RATE
  let counted = 0; // seconds of the microphone
  let shares = null;
  let wake = () => {};
  let failure = null;

  const listening = listen(RATE, job.ended, (block, rate) => {
    fresh.push({ block, rate });
    counted += block.length / rate;
    onBlock(counted, block);
    wake();
  })
    .catch((error) => (failure = error))
    .finally(() => wake());
  const isOver = () => job.ended.aborted || failure;

  const answer = () => {
    const seconds = total / RATE;
    const offset = Math.max(0, seconds - history.length / RATE);
    return { file: "live", seconds, labels, offset, segments: timeline.segments };
  };
  const hear = async (sound) => {
    total += sound.length;
    history = joined(history, sound).slice(-HISTORY_SECONDS * RATE);
    await timeline.hear(sound);
    await timeline.settle();
  };
  let pending = new Float32Array(0); // less than a block
  const take = async () => {
    const rate = fresh[0]?.rate ?? RATE;
    pending = joined(pending, await resample(joined(...fresh.splice(0).map(({ block }) => block)), rate, RATE));
  };
  try {
    while (!isOver()) {
      await new Promise((resolve) => (wake = resolve));
      const size = fresh.reduce((sum, { block }) => sum + block.length, 0);
      if (isOver() || pending.length + (size * RATE) / (fresh[0]?.rate ?? RATE) < BLOCK) continue;
      await take();
      const whole = pending.length - (pending.length % BLOCK);
      await hear(pending.slice(0, whole));
      pending = pending.slice(whole);
      const last = history.slice(-HEARD_SECONDS * RATE);
      const isSpeech = timeline.cuts.framesSinceSpeech < last.length / FRAME;
      const now = isSpeech ? await timeline.answer(last) : null;
      shares = now && (shares ? shares.map((share, i) => share + NEW_SHARE * (now[i] - share)) : now);
      if (!isOver()) onAnswer({ ...answer(), ...(shares && model.named(shares)) }, history);
    }
  } finally {
    job.finish.abort(); // whatever ended it: no microphone stays open
    await listening;
  }
  job.cancelled.throwIfAborted();
  if (failure) throw failure;
  await take();
  if (total + pending.length === 0) return null;
  await hear(pending);
  await timeline.close();
  job.cancelled.throwIfAborted();
  return { answer: answer(), samples: await resample(history, RATE, sample_rate) };
}
