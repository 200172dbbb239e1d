// The microphone: a recording as one file, or the last seconds again and again.

const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process([[channel]]) {
    if (channel) this.port.postMessage(channel.slice());
    return true;
  }
})`;

/** A stream of the microphone; throws an Error with a message for people. */
export async function openMicrophone() {
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

/** Record until `stop` is called, which gives the file. */
export function record(stream) {
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const done = new Promise((resolve) => (recorder.onstop = () => resolve(new Blob(parts, { type: recorder.mimeType }))));
  recorder.start();
  return {
    stop() {
      recorder.stop();
      close(stream);
      return done;
    },
  };
}

/** Keep the last seconds of a stream. */
export async function listen(stream, seconds) {
  const context = new AudioContext();
  const url = URL.createObjectURL(new Blob([TAP], { type: "text/javascript" }));
  await context.audioWorklet.addModule(url);
  URL.revokeObjectURL(url);
  const kept = new Float32Array(Math.ceil(seconds * context.sampleRate));
  let heard = 0;
  const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
  tap.port.onmessage = ({ data }) => {
    kept.copyWithin(0, data.length);
    kept.set(data, kept.length - data.length);
    heard += data.length;
  };
  new MediaStreamAudioSourceNode(context, { mediaStream: stream }).connect(tap);
  await context.resume();
  return {
    sampleRate: context.sampleRate,
    samples: () => kept.slice(Math.max(0, kept.length - heard)),
    stop() {
      close(stream);
      return context.close();
    },
  };
}

function close(stream) {
  for (const track of stream.getTracks()) track.stop();
}
