// The microphone: blocks of samples until a signal ends it.

const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process([[channel]]) {
    if (channel) this.port.postMessage(channel.slice());
    return true;
  }
})`;

/**
 * Give `onBlock` the samples and their rate until `ended`, an AbortSignal; then nothing of the microphone is left open.
 * Throws an Error with a message for people.
 */
export async function listen(rate, ended, onBlock) {
  if (ended.aborted) return;
  const opening = open();
  const end = new Promise((resolve) => ended.addEventListener("abort", resolve, { once: true }));
  const stream = await Promise.race([opening, end.then(() => null)]);
  if (ended.aborted) {
    opening.then(close, () => {}); // it is allowed only now
    return;
  }
  ended.addEventListener("abort", () => close(stream), { once: true });
  const { context, source } = tapped(stream, rate);
  try {
    const url = URL.createObjectURL(new Blob([TAP], { type: "text/javascript" }));
    await context.audioWorklet.addModule(url);
    URL.revokeObjectURL(url);
    if (ended.aborted) return;
    const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    tap.port.onmessage = ({ data }) => ended.aborted || onBlock(data, context.sampleRate);
    source.connect(tap);
    const [track] = stream.getTracks();
    const lost = new Promise((_, reject) => {
      track.onended = () => reject(new Error("The microphone was taken away."));
      if (track.readyState === "ended") track.onended(); // before it was listened to
    });
    await Promise.race([end, lost, context.resume().then(() => end)]); // which a browser may keep waiting
  } finally {
    close(stream);
    await context.close();
  }
}

async function open() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("This browser offers no microphone here. It needs a page on localhost or https.");
  }
  // as the voice is: what makes telephone calls pleasant changes an emotion
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    if (error.name === "NotFoundError" || error.name === "OverconstrainedError") {
      throw new Error("No microphone was found. Connect one, or choose a file.");
    }
    if (error.name === "NotAllowedError" || error.name === "SecurityError") {
      throw new Error("The microphone is not allowed for this page. Allow it in the browser's settings, or choose a file.");
    }
    throw new Error(`The microphone cannot be used (${error.name}). Another program may hold it.`);
  }
}

/** At this rate where the browser resamples a microphone, else at the microphone's. */
function tapped(stream, sampleRate) {
  let context = new AudioContext({ sampleRate });
  try {
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    context.close();
    context = new AudioContext();
    return { context, source: context.createMediaStreamSource(stream) };
  }
}

function close(stream) {
  for (const track of stream.getTracks()) track.stop();
}
