// "Teach it your voice": eight sentences whose emotions are known, and what is done with the voice.

import { percent } from "./draw.js";
import { saves } from "./result.js";
import { enrol, forget, keep, PLACE, read, stored } from "./voice.js";

const SENTENCES = [
  ["neutral", "As you would tell the time", "The bus to the station leaves at a quarter past nine."],
  ["calm", "Calmly", "Sit down for a while, we have all the time in the world."],
  ["happy", "Happily", "They said yes, I start there on Monday, isn't that wonderful!"],
  ["sad", "Sadly", "The house is so quiet since she has moved away."],
  ["angry", "Angrily", "I have told you three times to leave that door alone!"],
  ["fearful", "Fearfully", "Did you hear that? Somebody is walking around downstairs."],
  ["disgust", "With disgust", "This milk has been open for weeks, the smell is awful."],
  ["surprised", "With surprise", "You are here already? I thought you would come tomorrow!"],
];

const UNKEPT = "Your voice is used, but this browser does not let the page keep it. Download it.";

const $ = (id) => document.getElementById(id);

export class Teacher {
  /** Shows the section where the model takes a voice; `record` gives samples, `onChange` gets the voice that answers. */
  constructor(model, { jobs, record, onChange }) {
    this.model = model;
    this.jobs = jobs;
    this.record = record;
    this.onChange = onChange;
    this.sentences = SENTENCES.filter(([emotion]) => model.about.labels.includes(emotion));
    this.taught = this.sentences.map(() => null); // samples
    this.at = null; // of the sentence that is recorded
    this.voice = null;
  }

  async start() {
    if (!this.model.about.speaker) return;
    $("teach").hidden = false;
    $("sentences").replaceChildren(
      ...this.sentences.map(([, manner, sentence], at) => {
        const row = document.createElement("li");
        row.innerHTML = '<p><b></b><br><q></q></p><button type="button"></button><span class="quiet"></span>';
        row.querySelector("b").textContent = manner;
        row.querySelector("q").textContent = sentence;
        row.querySelector("button").addEventListener("click", (event) => this.toggle(at, event));
        return row;
      }),
    );
    $("teach-again").addEventListener("click", () => this.reset());
    $("voice-use").addEventListener("change", () => this.guarded(() => this.use()));
    $("voice-delete").addEventListener("click", () => $("confirm").showModal());
    $("confirm").addEventListener("close", ({ target }) => {
      if (target.returnValue === "delete") this.guarded(() => this.delete());
      target.returnValue = "";
    });
    saves($("voice-download"), "my.voice", "application/json", () => JSON.stringify(this.voice));
    $("voice-file").addEventListener("change", ({ target }) => this.guarded(() => this.open(target)));
    addEventListener("storage", ({ key }) => {
      if (key === PLACE || key === null) this.guarded(() => this.takeStored()); // another tab has changed it
    });
    this.show();
    await this.guarded(() => this.takeStored());
  }

  async takeStored() {
    try {
      await this.take(stored(this.model.about));
    } catch (error) {
      await this.take(null);
      this.showUnusable(error.message);
    }
  }

  async guarded(action, cancelled = null) {
    $("teach-error").hidden = true;
    try {
      await action();
    } catch (error) {
      if (cancelled?.aborted) return;
      $("teach-error").textContent = error.message;
      $("teach-error").hidden = false;
      this.say("");
    }
  }

  say(text) {
    $("teach-status").textContent = text;
  }

  show() {
    const isRecording = this.jobs.kind === "teach";
    [...$("sentences").children].forEach((row, at) => {
      const button = row.querySelector("button");
      const isThis = isRecording && this.at === at;
      button.setAttribute("aria-pressed", String(isThis));
      button.textContent = isThis ? "Stop" : this.taught[at] ? "Record again" : "Record";
      button.setAttribute("aria-label", `${button.textContent}: ${this.sentences[at][1]}`);
      row.classList.toggle("taught", Boolean(this.taught[at]));
      if (!this.taught[at]) row.lastChild.textContent = "";
    });
    $("teach-again").hidden = !this.taught.some(Boolean);
  }

  reset() {
    if (this.jobs.kind === "teach") this.jobs.cancel();
    this.taught.fill(null);
    this.say("");
    this.show();
  }

  toggle(at, event) {
    if (event.detail > 1) return;
    if (this.jobs.kind === "teach" && this.at !== at) this.jobs.cancel();
    this.at = at;
    $("teach-error").hidden = true;
    this.jobs.toggle("teach", (job) => this.guarded(() => this.learn(at, job), job.cancelled), event);
    this.show();
  }

  async learn(at, job) {
    const samples = await this.record(job, "Say the sentence, then stop.");
    job.cancelled.throwIfAborted();
    if (samples.length === 0) return;
    this.at = null; // it is recorded
    this.show();
    const before = await this.model.predict(samples);
    job.cancelled.throwIfAborted();
    if (!before) throw new Error("No speech was heard. Say the sentence again.");
    this.taught[at] = samples;
    $("sentences").children[at].lastChild.textContent = `heard as ${before.emotion}`;
    const count = this.taught.filter(Boolean).length;
    this.say(`Heard: ${count} of ${this.taught.length}.`);
    if (count < this.taught.length) return;
    this.say("Learning your voice …");
    const voice = await enrol(this.taught, this.sentences.map(([emotion]) => emotion), this.model);
    job.cancelled.throwIfAborted();
    const isKept = await this.takeAndKeep(voice);
    await this.compare(job);
    if (!isKept) throw new Error(UNKEPT);
  }

  /** What each sentence sounded like before, and now, while that voice is the one. */
  async compare({ cancelled }) {
    const { voice } = this;
    let [right, rightBefore] = [0, 0];
    for (const [at, samples] of [...this.taught].entries()) {
      const emotion = this.sentences[at][0];
      const [before, now] = [await this.model.predict(samples, true), await this.model.predict(samples)];
      if (cancelled.aborted || this.voice !== voice) return;
      rightBefore += before.emotion === emotion;
      right += now.emotion === emotion;
      const said = ({ emotion: heard, confidence }) => `${heard}, ${percent(confidence, 0)}`;
      $("sentences").children[at].lastChild.textContent = `before: ${said(before)}; now: ${said(now)}`;
    }
    const all = this.taught.length;
    $("voice-change").textContent =
      `Your sentences as they were meant: ${rightBefore} of ${all} before, ${right} of ${all} now. It has learned from these; ` +
      "record something else to hear the difference.";
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
    if (!(await this.takeAndKeep(voice))) throw new Error(UNKEPT);
  }

  /** Whether it is kept: at once, since it may be deleted while the model takes it. */
  async takeAndKeep(voice) {
    const isKept = keep(voice);
    await this.take(voice);
    return isKept;
  }

  async take(voice) {
    this.voice = voice;
    $("voice").hidden = !voice;
    $("voice-usable").hidden = !voice;
    $("voice-use").checked = Boolean(voice);
    $("voice-change").textContent = "";
    for (const { lastChild } of $("sentences").children) lastChild.textContent = ""; // how another one was heard
    if (voice) {
      const sentences = voice.recordings === 1 ? "recording" : "recordings";
      $("voice-about").textContent = `Your voice: ${voice.recordings} ${sentences}, ${voice.seconds.toFixed(0)} s of speech.`;
      $("voice-notes").textContent = voice.notes.map((note) => `Note: ${note}.`).join(" ");
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
    const taken = this.model.use(used);
    this.onChange(used);
    await taken;
    if (this.voice) this.say(used ? "It answers with your voice." : "It answers as for anybody.");
  }

  async delete() {
    forget();
    await this.take(null);
    this.say("Your voice is deleted, in every tab of this page.");
  }
}
