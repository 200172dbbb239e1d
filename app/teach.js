// "Teach it your voice": eight sentences, one after the other, and what is done with the voice.

import { decode } from "./audio.js";
import { openMicrophone, record } from "./microphone.js";
import { enrol, forget, keep, read, stored } from "./voice.js";

// of eight moods, since a voice that is learnt from one mood alone is made neutral
const SENTENCES = [
  ["as you would tell the time", "The bus to the station leaves at a quarter past nine."],
  ["calmly", "Sit down for a while, we have all the time in the world."],
  ["happily", "They said yes, I start there on Monday, isn't that wonderful!"],
  ["sadly", "The house is so quiet since she has moved away."],
  ["angrily", "I have told you three times to leave that door alone!"],
  ["fearfully", "Did you hear that? Somebody is walking around downstairs."],
  ["with disgust", "This milk has been open for weeks, the smell is awful."],
  ["with surprise", "You are here already? I thought you would come tomorrow!"],
];

const $ = (id) => document.getElementById(id);

export class Teacher {
  /** Shows the section where the model takes a voice. */
  constructor(model, { onStart, onChange }) {
    this.model = model;
    this.onStart = onStart; // a microphone is wanted
    this.onChange = onChange; // another voice answers
    this.taught = [];
    this.recording = null;
    this.voice = null;
  }

  async start() {
    if (!this.model.about.speaker) return;
    $("teach").hidden = false;
    $("teach-record").addEventListener("click", () => this.guarded(() => this.toggle()));
    $("teach-again").addEventListener("click", () => this.reset());
    $("voice-use").addEventListener("change", () => this.guarded(() => this.use()));
    $("voice-delete").addEventListener("click", () => this.guarded(() => this.delete()));
    $("voice-file").addEventListener("change", ({ target }) => this.guarded(() => this.open(target)));
    this.reset();
    await this.guarded(async () => {
      try {
        await this.take(stored(this.model.about));
      } catch (error) {
        this.showUnusable(error.message);
      }
    });
  }

  async guarded(action) {
    $("teach-error").hidden = true;
    try {
      await action();
    } catch (error) {
      $("teach-error").textContent = error.message;
      $("teach-error").hidden = false;
      this.say("");
    }
  }

  say(text) {
    $("teach-status").textContent = text;
  }

  show() {
    const at = Math.min(this.taught.length, SENTENCES.length - 1);
    const [manner, sentence] = SENTENCES[at];
    $("teach-count").textContent = `Sentence ${at + 1} of ${SENTENCES.length}, ${manner}:`;
    $("teach-sentence").textContent = sentence;
    $("teach-again").hidden = this.taught.length === 0;
  }

  reset() {
    this.taught = [];
    this.say("");
    this.show();
  }

  async toggle() {
    const button = $("teach-record");
    if (!this.recording) {
      await this.onStart();
      this.recording = record(await openMicrophone());
      press(button, true, "Stop");
      this.say("Recording: say the sentence, then stop.");
      return;
    }
    const { stop } = this.recording;
    this.recording = null;
    press(button, false, "Record this sentence");
    this.say("Listening …");
    const blob = await stop();
    const samples = await decode(await blob.arrayBuffer(), this.model.about.sample_rate);
    if (!(await this.model.predict(samples))) throw new Error("No speech was heard. Say the sentence again.");
    this.taught.push(samples);
    this.show();
    if (this.taught.length < SENTENCES.length) {
      this.say(`Heard: ${this.taught.length} of ${SENTENCES.length}.`);
      return;
    }
    this.say("Learning your voice …");
    const voice = await enrol(this.taught, this.model);
    this.reset();
    await this.take(voice);
    try {
      keep(voice);
    } catch {
      throw new Error("Your voice is used, but this browser does not let the page keep it. Download it.");
    }
  }

  async open(input) {
    const [file] = input.files;
    if (!file) return;
    const text = await file.text();
    input.value = "";
    let voice;
    try {
      voice = read(text, this.model.about);
    } catch (error) {
      throw new Error(`${file.name}: ${error.message}.`);
    }
    await this.take(voice);
    keep(voice);
  }

  async take(voice) {
    this.voice = voice;
    $("voice").hidden = !voice;
    $("voice-usable").hidden = !voice;
    $("voice-use").checked = Boolean(voice);
    if (voice) {
      const sentences = voice.recordings === 1 ? "recording" : "recordings";
      $("voice-about").textContent = `Your voice: ${voice.recordings} ${sentences}, ${voice.seconds.toFixed(0)} s of speech.`;
      $("voice-notes").textContent = voice.notes.map((note) => `Note: ${note}.`).join(" ");
      const link = $("voice-download");
      if (link.href) URL.revokeObjectURL(link.href);
      link.href = URL.createObjectURL(new Blob([JSON.stringify(voice)], { type: "application/json" }));
    }
    await this.use();
  }

  /** What is kept can still be deleted. */
  showUnusable(reason) {
    $("voice").hidden = false;
    $("voice-usable").hidden = true;
    $("voice-notes").textContent = "";
    $("voice-about").textContent = `The voice that this browser keeps cannot be used: ${reason}.`;
  }

  async use() {
    const used = $("voice-use").checked ? this.voice : null;
    await this.model.use(used);
    if (this.voice) this.say(used ? "It answers with your voice." : "It answers as for anybody.");
    this.onChange(Boolean(used));
  }

  async delete() {
    forget();
    await this.take(null);
    this.say("Your voice is deleted.");
  }
}

export function press(button, isPressed, text) {
  button.setAttribute("aria-pressed", String(isPressed));
  button.textContent = text;
}
