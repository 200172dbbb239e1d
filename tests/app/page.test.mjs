// The page in a real browser; tests/app/test_page.py serves it, makes the recordings and runs this file.

import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg } from "node:os";
import { after, afterEach, before, test as nodeTest } from "node:test";

const given = JSON.parse(readFileSync(process.env.SER_APP_GIVEN, "utf8"));
const require = createRequire(given.modules);
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const TOLERANCE = 2e-3; // of a probability: weights in 16 bits, and float32 sums in another order
const FIRST_MS = 3000;
const NEXT_MS = 500;
const TEN_MINUTES_MS = 15_000;
const TEN_MINUTES_MB = 400;
const wasQuiet = loadavg()[0] <= cpus().length / 4; // else the times are those of other programs
const isQuiet = () => wasQuiet && loadavg()[0] <= 2 * cpus().length; // the page is a program, too
const MICROPHONE = [
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  `--use-file-for-fake-audio-capture=${given.files.microphone}%noloop`,
];

const SPEAKER = [...MICROPHONE.slice(0, 2), `--use-file-for-fake-audio-capture=${given.files.sample}`];

const browsers = [];
async function launch(args = []) {
  const launched = await chromium.launch({ executablePath: given.chromium, args: ["--no-sandbox", "--disable-gpu", ...args] });
  browsers.push(launched);
  return launched;
}

// where other programs take the processor, a minute of work takes many
const test = (name, ...rest) => nodeTest(name, { timeout: 1_200_000, ...(rest.length > 1 && rest[0]) }, rest.at(-1));
const WAIT_MS = 300_000;
let browser;
const requests = [];
const problems = [];

before(async () => {
  browser = await launch();
});
after(() => Promise.all(browsers.map((each) => each.close()))); // those of tests that failed, too: node waits for them
afterEach(() => {
  assert.deepEqual(requests.filter((url) => !/^(blob:|data:)/.test(url) && new URL(url).hostname !== "localhost"), []);
  assert.deepEqual(problems.splice(0), []);
});

async function open(options = {}, of = browser, isReady = true) {
  const page = await (await of.newContext(options)).newPage();
  await page.addInitScript(countOpen);
  page.setDefaultTimeout(WAIT_MS);
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => problems.push(error.message));
  await page.goto(given.url);
  if (isReady) await page.waitForSelector("html[data-ready]");
  return page;
}

/** In the page: what of the microphone and of sound is open, and what a screen reader is told. */
function countOpen() {
  window.opened = { tracks: [], contexts: [], said: [] };
  const { mediaDevices } = navigator;
  const ask = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async (wish) => {
    const stream = await ask(wish);
    window.opened.tracks.push(...stream.getTracks());
    return stream;
  };
  window.AudioContext = class extends AudioContext {
    constructor(...settings) {
      super(...settings);
      window.opened.contexts.push(this);
    }
  };
  addEventListener("DOMContentLoaded", () => {
    window.opened.first = document.querySelector("#work").innerText;
    const live = document.querySelectorAll("[role=status], [role=alert], [aria-live]");
    const note = ([{ target }]) => target.textContent.trim() && window.opened.said.push(target.textContent);
    for (const region of live) new MutationObserver(note).observe(region, { childList: true, characterData: true, subtree: true });
  });
}

/** How many microphones were ever opened, and what is open still, once all that ends has ended. */
async function assertNothingOpen(page, leastOpened = 0) {
  await page.waitForFunction(() => document.querySelector("#work").hidden);
  const count = () =>
    page.evaluate(() => {
      const { tracks, contexts } = window.opened;
      const isOpen = ({ readyState, state }) => readyState === "live" || state === "running" || state === "suspended";
      return [tracks.length, tracks.filter(isOpen).length, contexts.filter(isOpen).length];
    });
  for (let turn = 0; turn < WAIT_MS / 100 && (await count()).slice(1).some(Boolean); turn++) await page.waitForTimeout(100);
  const [opened, ...open] = await count();
  assert.deepEqual(open, [0, 0], "live tracks, open contexts");
  assert.ok(opened >= leastOpened, `${opened} microphones`);
  for (const id of ["record", "live"]) assert.equal(await page.getAttribute(`#${id}`, "aria-pressed"), "false");
}

/** Wait until the timer shows so many seconds. */
const hears = (page, seconds) =>
  page.waitForFunction((least) => Number(document.querySelector("#doing").textContent.match(/0:(\d\d)/)?.[1]) >= least, seconds);

/** Wait for what a screen reader is told. */
const says = (page, text) => page.waitForSelector(`#status:has-text("${text}")`, { state: "attached" });

async function assertAccessible(page) {
  const violations = await page.evaluate(`${AXE}; axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))`);
  assert.deepEqual(violations, []);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, "no sideways scroll");
}

/** One page for the tests that leave it as it was. */
let ofAll;
const shared = () => (ofAll ??= open());

/** Drop a file on the page; milliseconds until its name and its answer are there. */
async function drop(page, path, name) {
  const content = readFileSync(path).toString("base64");
  return page.evaluate(
    async ([content, name]) => {
      const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], name));
      const shown = new Promise((resolve) => {
        new MutationObserver(() => {
          if (document.querySelector("#name").textContent === name) resolve(performance.now());
        }).observe(document.querySelector("#emotion"), { childList: true, characterData: true, subtree: true });
      });
      const start = performance.now();
      document.querySelector("#drop").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
      return (await shown) - start;
    },
    [content, name],
  );
}

/** The most memory that a page of a browser ever had, in MB, without the code that its processes share; null but on Linux. */
async function mostMemory(of) {
  const { processInfo } = await (await of.newBrowserCDPSession()).send("SystemInfo.getProcessInfo");
  const status = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => `/proc/${id}/status`);
  const sizes = status.filter(existsSync).map((path) => {
    const [all, code] = ["VmHWM", "RssFile"].map((name) => Number(readFileSync(path, "utf8").match(`${name}:\\s+(\\d+)`)[1]));
    return (all - code) / 1024;
  });
  return sizes.length ? Math.max(...sizes) : null;
}

async function downloaded(page, id) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(id)]);
  return readFileSync(await download.path(), "utf8");
}

function assertNear(probabilities, expected) {
  assert.deepEqual(Object.keys(probabilities), Object.keys(expected));
  for (const [label, share] of Object.entries(expected)) assert.ok(Math.abs(probabilities[label] - share) < TOLERANCE);
}

test("answers a dropped file as predict.py does, in time", async () => {
  const page = await open({}, browser, false); // the model is loading while the file is dropped
  const first = await drop(page, given.files.sample, "first.wav");
  const next = [];
  for (let turn = 0; turn < 10; turn++) next.push(await drop(page, given.files.sample, `${turn}.wav`));
  const median = next.sort((a, b) => a - b)[5];
  console.log(`first answer ${first.toFixed(0)} ms after the drop, the next ${median.toFixed(0)} ms (median of ten); load ${loadavg()[0].toFixed(1)}`);
  assert.ok(first < FIRST_MS || !isQuiet(), `${first} ms`);
  assert.ok(median < NEXT_MS || !isQuiet(), `${median} ms`);
  const { file, emotion, probabilities } = JSON.parse(await downloaded(page, "#json"));
  assert.equal(file, "9.wav");
  assert.equal(emotion, given.expected.sample.emotion);
  assertNear(probabilities, given.expected.sample.probabilities);
  assert.match(await page.textContent("#emotion"), new RegExp(emotion));
});

test("answers a recording over time as ser-gpu timeline does, gives a table of it, and plays a part of it", async () => {
  const page = await shared();
  await page.setInputFiles("#file", given.files.long);
  await page.waitForSelector("#over-time:not([hidden])");
  await says(page, "long.wav");
  const { probabilities, segments } = JSON.parse(await downloaded(page, "#json"));
  assertNear(probabilities, given.expected.long.probabilities);
  assert.equal(segments.length, given.timeline.length);
  given.timeline.forEach((expected, i) => {
    for (const name of ["start", "end"]) assert.ok(Math.abs(segments[i][name] - expected[name]) < 1e-3, name);
    for (const name of ["speech", "emotion"]) assert.equal(segments[i][name], expected[name]);
    assertNear(segments[i].probabilities, expected.probabilities);
  });
  const [head, ...lines] = (await downloaded(page, "#csv")).trim().split("\n");
  assert.equal(head, ["start", "end", "speech", "emotion", "confidence", ...Object.keys(probabilities)].join(","));
  assert.equal(lines.length, segments.length);
  assert.equal(await page.locator("#segments button").count(), segments.filter(({ speech }) => speech).length);
  await page.locator("#segments button").first().focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => parseFloat(document.querySelector("#playhead").style.left) > 0);
  assert.equal(await page.locator("#segments [aria-pressed=true]").count(), 1);
  await page.keyboard.press("Enter");
  assert.ok(await page.isHidden("#playhead"));
  await page.click("#waveform", { position: { x: 60, y: 40 } });
  await page.waitForSelector("#segments [aria-pressed=true]");
  await page.waitForSelector("#playhead", { state: "hidden" }); // at the end of the segment
  await page.setInputFiles("#file", given.files.sample); // a short one has no table
  await page.waitForSelector("#over-time", { state: "hidden" });
  await assertNothingOpen(page);
});

test("answers ten minutes in time and memory, with parts while it listens, and without one emotion for all", async () => {
  const own = await launch();
  const page = await open({}, own);
  const times = [];
  for (let turn = 0; turn < 3; turn++) {
    await page.evaluate(() => (document.querySelector("#status").textContent = ""));
    const start = Date.now();
    await page.setInputFiles("#file", given.files.talk);
    if (turn === 0) {
      await page.waitForSelector("#segments button");
      assert.match(await page.textContent("#doing"), /left|nearly done/);
      assert.ok(await page.isVisible("#cancel"));
    }
    await page.waitForSelector("#status:has-text('talk.wav')", { state: "attached" });
    times.push(Date.now() - start);
  }
  const median = times.sort((a, b) => a - b)[1];
  const memory = await mostMemory(own);
  console.log(`ten minutes in ${(median / 1000).toFixed(1)} s (median of three); load ${loadavg()[0].toFixed(1)}; ${memory?.toFixed(0)} MB`);
  assert.ok(memory === null || memory < TEN_MINUTES_MB, `${memory} MB`);
  assert.ok(median < TEN_MINUTES_MS || !isQuiet(), `${median} ms`);
  assert.ok(await page.isHidden("#answer"));
  const found = JSON.parse(await downloaded(page, "#json"));
  assert.equal(found.emotion, undefined);
  assert.equal(found.seconds, given.talk.seconds);
  assert.equal(found.segments.length, given.talk.segments);
  const shown = await page.locator("#bars td:last-child").allTextContents();
  assert.ok(Math.abs(shown.reduce((sum, text) => sum + parseFloat(text), 0) - 100) < 1, shown);
  await page.setInputFiles("#file", given.files.talk);
  await page.waitForSelector("#doing:has-text('left')");
  await page.click("#cancel");
  await page.waitForSelector("#work", { state: "hidden" });
  assert.equal(await page.textContent("#status"), "Cancelled.");
  await own.close();
});

test("shows one recording while it answers another", async () => {
  const page = await open();
  await page.setInputFiles("#file", [given.files.sample, given.files.talk]);
  const rows = page.locator("#recordings button");
  await page.waitForSelector("#name:text-is('talk.wav')");
  await page.waitForSelector("#segments button");
  await rows.first().click();
  await page.waitForSelector("#name:text-is('sample.wav')");
  assert.ok(await page.isHidden("#over-time"));
  assert.equal(JSON.parse(await downloaded(page, "#json")).file, "sample.wav");
  await rows.last().click();
  await page.waitForSelector("#name:text-is('talk.wav')");
  await page.waitForSelector("#work", { state: "hidden" });
  assert.equal(JSON.parse(await downloaded(page, "#json")).segments.length, given.talk.segments);
  await rows.first().focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector("#name:text-is('sample.wav')");
  assert.ok(await rows.first().evaluate((row) => row === document.activeElement));
  await page.click("#play");
  await page.waitForSelector("#playhead:not([hidden])");
  await page.click("#play");
  await assertNothingOpen(page);
  await page.close();
});

test("goes on with another worker where one fails", async () => {
  const page = await shared();
  const [failed, emotion] = await page.evaluate(async () => {
    const [{ decode }, { Model }] = await Promise.all(["audio", "model"].map((name) => import(`./${name}.js`)));
    const model = await Model.load();
    const samples = await decode(await (await fetch("sample.wav")).blob(), model.about.sample_rate);
    const answer = model.answer(samples.slice()).catch(({ message }) => message);
    model.workers[0].worker.dispatchEvent(new ErrorEvent("error", { message: "out of memory" }));
    return [await answer, (await model.predict(samples)).emotion];
  });
  assert.equal(failed, "out of memory");
  assert.equal(emotion, given.expected.sample.emotion);
});

test("leaves nothing unanswered where a worker ends while it works", async () => {
  const page = await shared();
  const [late, isOfVoice, bands, missing] = await page.evaluate(async (text) => {
    const [{ Model }, { Result }] = await Promise.all(["model", "result"].map((name) => import(`./${name}.js`)));
    const model = await Model.load();
    const end = () => model.workers[0].worker.dispatchEvent(new ErrorEvent("error", { message: "out of memory" }));
    const [lane] = model.workers;
    const used = model.use(JSON.parse(text));
    end();
    await used; // no error: the next worker hears of the voice
    const late = await lane.call("use", { voice: null }).catch(({ message }) => message);
    const loading = Promise.resolve(model);
    const answer = { file: "a.wav", seconds: 1, labels: model.about.labels, voice: false, segments: [] };
    await model.grow();
    const shown = new Result(loading).show(answer, new Float32Array(model.about.sample_rate));
    await loading;
    await null;
    end();
    const bands = await shown; // a picture less, and no error
    const { fetch } = window;
    window.fetch = async (name) => (name === "model.json" ? new Response("", { status: 404 }) : fetch(name));
    const missing = await Model.load().catch(({ message }) => message);
    window.fetch = fetch;
    return [late, Boolean(model.voice), bands, missing];
  }, readFileSync(given.files.voice, "utf8"));
  assert.equal(late, "out of memory");
  assert.ok(isOfVoice);
  assert.equal(bands, undefined);
  assert.equal(missing, "model.json is missing.");
  ofAll = null; // its result is another one now
  await page.close();
});

test("names the emotions of 80 clips as predict.py does", { skip: !given.clips.length && "RAVDESS_DIR has the clips" }, async () => {
  const page = await open();
  await page.setInputFiles("#file", given.clips.map(([path]) => path));
  await page.waitForFunction((count) => {
    const rows = [...document.querySelectorAll("#recordings span")];
    return rows.length === count && rows.every(({ textContent }) => /%|no speech/.test(textContent));
  }, given.clips.length, { timeout: 2 * WAIT_MS });
  const heard = await page.locator("#recordings span").allTextContents();
  assert.deepEqual(heard.map((text) => text.split(",")[0]), given.clips.map(([, emotion]) => emotion));
  await page.close();
});

test("answers all files that are dropped, one row each", async () => {
  const page = await open();
  const names = ["sample", "silence", "first", "long", "text"];
  await page.setInputFiles("#file", names.map((name) => given.files[name]));
  await page.waitForFunction((count) => document.querySelectorAll("#recordings button").length === count, names.length);
  await page.waitForSelector("#recordings li:last-child:has-text('no audio')");
  const rows = await page.locator("#recordings button").allTextContents();
  for (const [i, text] of [given.expected.sample.emotion, "no speech", /\d.%/, given.expected.long.emotion, "no audio"].entries()) {
    assert.match(rows[i], new RegExp(text));
    assert.equal(rows[i].split(".wav").length, 2, "its name once");
  }
  await page.locator("#recordings button").first().click();
  await page.waitForSelector("#name:text-is('sample.wav')");
  assert.ok(await page.isHidden("#error"));
  assert.equal(JSON.parse(await downloaded(page, "#json")).file, "sample.wav");
  await assertAccessible(page);
  await page.close();
});

async function answersWith(page, voice) {
  await page.getByText("Teach it your voice").click();
  await page.setInputFiles("#voice-file", given.files[voice]);
  await page.waitForSelector("#voice:not([hidden])");
  await drop(page, given.files.sample, "sample.wav");
  const heard = JSON.parse(await downloaded(page, "#json"));
  assert.ok(heard.voice);
  assertNear(heard.probabilities, given.expected[voice].probabilities);
}

test("answers with a voice whose emotions were named", async () => answersWith(await open(), "named"));

test("answers with a voice of ser-gpu enrol, and learns one as it does", async () => {
  const page = await open();
  await answersWith(page, "voice");
  await page.getByLabel("Answer with my voice").uncheck();
  await drop(page, given.files.sample, "again.wav");
  assertNear(JSON.parse(await downloaded(page, "#json")).probabilities, given.expected.sample.probabilities);

  const contents = given.enrolled.map((name) => readFileSync(given.files[name]).toString("base64"));
  for (const [kind, emotions] of [["voice", null], ["named", given.meant]]) {
    const learnt = await page.evaluate(async ([contents, emotions]) => {
      const [{ decode }, { Model }, { enrol }] = await Promise.all(["audio", "model", "voice"].map((name) => import(`./${name}.js`)));
      const model = await Model.load();
      const bytes = contents.map((content) => Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0)));
      return enrol(await Promise.all(bytes.map((each) => decode(new Blob([each]), model.about.sample_rate))), emotions, model);
    }, [contents, emotions]);
    const expected = JSON.parse(readFileSync(given.files[kind], "utf8"));
    for (const name of ["kind", "format_version", "model", "recordings", "windows", "emotions", "notes"]) {
      assert.deepEqual(learnt[name], expected[name], name);
    }
    assert.ok(Math.abs(learnt.seconds - expected.seconds) < 1e-3);
    for (const name of ["mean", "variance", "head"].filter((name) => expected[name])) {
      const [found, wanted] = [learnt[name].flat(), expected[name].flat()];
      const scale = Math.max(...wanted.map(Math.abs));
      // weights in 16 bits
      found.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) < 5e-3 * scale, `${name} ${i}`));
    }
  }
});

for (const [kind, message] of [
  ["text", /notes\.wav: not a voice file/],
  ["another", /it was made with another model/],
  ["narrow", /its head is not that of this model/],
  ["spoilt", /its variance is not that of this model/],
]) {
  test(`says what is wrong with a voice file: ${kind}`, async () => {
    const page = await shared();
    await page.setInputFiles("#voice-file", given.files[kind]);
    await page.waitForSelector("#teach-error:not([hidden])");
    assert.match(await page.textContent("#teach-error"), message);
    assert.ok(await page.isHidden("#voice"));
  });
}

test("says what is wrong with a voice that it keeps", async () => {
  const page = await open();
  await page.evaluate((text) => {
    localStorage.setItem("ser_gpu.voice", JSON.stringify({ ...JSON.parse(text), notes: null }));
  }, readFileSync(given.files.voice, "utf8"));
  await page.reload();
  await page.waitForSelector("#voice-about:has-text('its notes are no texts')");
  await page.close();
});

test("learns a voice from eight sentences, by keyboard, one of them twice, keeps it, and deletes it in all tabs", async () => {
  const hearing = await launch(SPEAKER);
  const page = await open({}, hearing);
  await page.locator("#teach summary").focus();
  await page.keyboard.press("Enter");
  const say = async (at, heard) => {
    await page.locator("#sentences button").nth(at).focus();
    await page.keyboard.press("Enter");
    await page.waitForSelector("#meter:not([hidden])");
    await hears(page, 2);
    await page.keyboard.press("Enter");
    await page.waitForSelector(`${heard}, #teach-error:not([hidden])`);
    assert.equal(await page.textContent("#teach-error"), "");
  };
  for (const [turn, at] of [0, 0, 1, 2, 3, 4, 5, 6].entries()) {
    await say(at, `#teach-status:has-text("Heard: ${turn ? at + 1 : 1} of 8.")`);
    await assertNothingOpen(page, turn + 1);
  }
  assert.ok(await page.isHidden("#voice"));
  await say(7, "#voice:not([hidden])");
  await page.waitForSelector("#voice-change:has-text('of 8 now')");
  assert.match(await page.textContent("#voice-about"), /8 recordings/);
  assert.equal(await page.textContent("#voice-notes"), "");
  assert.equal(await page.locator("#sentences span:has-text('before: ')").count(), 8);
  await assertAccessible(page);
  const text = await downloaded(page, "#voice-download");
  writeFileSync(given.taught, text);
  assert.equal(JSON.parse(text).emotions.length, 8);
  await page.reload();
  await page.waitForSelector("#voice:not([hidden])");
  assert.ok(await page.isChecked("#voice-use"));
  const second = await page.context().newPage();
  await second.goto(given.url);
  await second.waitForSelector("#voice:not([hidden])");
  await page.getByRole("button", { name: "Delete my voice" }).click();
  await page.getByRole("button", { name: "Keep it" }).click();
  assert.ok(await page.isVisible("#voice"));
  await page.getByRole("button", { name: "Delete my voice" }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  for (const tab of [page, second]) await tab.waitForSelector("#voice", { state: "hidden" });
  await page.reload();
  await page.waitForSelector("html[data-ready]");
  assert.ok(await page.isHidden("#voice"));
  await hearing.close();
});

for (const kind of given.compressed) {
  test(`decodes ${kind}`, async () => {
    const page = await shared();
    await page.setInputFiles("#file", given.files[kind]);
    await says(page, `sample.${kind}`);
    assert.match(await page.textContent("#status"), new RegExp(given.expected.sample.emotion));
  });
}

for (const [name, path] of Object.entries(given.files).filter(([name]) => name.endsWith(" in parts"))) {
  test(`decodes a long file as the browser decodes it whole: ${name}`, async () => {
    const page = await shared();
    const [length, wholeLength, difference] = await page.evaluate(async (content) => {
      const { decode } = await import("./audio.js");
      const file = new Blob([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))]);
      const { decodeAudioData } = OfflineAudioContext.prototype;
      let calls = 0;
      OfflineAudioContext.prototype.decodeAudioData = function (...rest) {
        calls++;
        return decodeAudioData.apply(this, rest);
      };
      const found = await decode(file, 16_000);
      OfflineAudioContext.prototype.decodeAudioData = decodeAudioData;
      if (calls !== 4) throw new Error(`${calls} parts`);
      const whole = (await new OfflineAudioContext(1, 1, 16_000).decodeAudioData(await file.arrayBuffer())).getChannelData(0);
      const power = (of) => of.reduce((sum, value) => sum + value ** 2, 0);
      const differences = whole.map((value, i) => value - (found[i] ?? 0));
      return [found.length, whole.length, power(differences) / power(whole)];
    }, readFileSync(path).toString("base64"));
    assert.ok(Math.abs(length - wholeLength) < 1152, `${length}, ${wholeLength}`); // padding of the encoder
    // of rounding, in MP3 up to 2e-6; of the noise that AAC decoders make, 1e-5; of Vorbis a hundredth of a sample later, 1e-5
    assert.ok(difference < 1e-4, difference);
  });
}

test("gives all that the browser decodes of a long file that breaks off", { skip: !given.files["webm that breaks off"] }, async () => {
  const page = await shared();
  const [length, wholeLength] = await page.evaluate(async (content) => {
    const { decode } = await import("./audio.js");
    const file = new Blob([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))]);
    const whole = await new OfflineAudioContext(1, 1, 16_000).decodeAudioData(await file.arrayBuffer());
    return [(await decode(file, 16_000)).length, whole.length];
  }, readFileSync(given.files["webm that breaks off"]).toString("base64"));
  assert.ok(wholeLength > 60 * 16_000 && length >= wholeLength, `${length}, ${wholeLength}`);
});

for (const [name, path] of Object.entries(given.files).filter(([name]) => name.endsWith("of ten minutes"))) {
  test(`decodes in little memory, in stereo at 48 kHz: ${name}`, async () => {
    const own = await launch();
    const page = await open({}, own);
    await page.setInputFiles("#file", path);
    await page.waitForSelector("#segments button");
    assert.match(await page.textContent("#about-time"), /^10:0/);
    const memory = await mostMemory(own);
    console.log(`${name}: ${memory?.toFixed(0)} MB`);
    assert.ok(memory === null || memory < TEN_MINUTES_MB, `${memory} MB`);
    await own.close();
  });
}

test("decodes a long WAV file in parts as the browser decodes it whole", async () => {
  const page = await shared();
  const [length, wholeLength, difference] = await page.evaluate(async () => {
    const { decode } = await import("./audio.js");
    const rate = 11_025;
    const sound = Int16Array.from({ length: 2 * 61 * rate + 600 }, (_, i) => 8000 * Math.sin(i / 50));
    const chunk = (name, ...parts) => new Blob([name, Uint32Array.of(new Blob(parts).size), ...parts]);
    const format = chunk("fmt ", Uint16Array.of(1, 2), Uint32Array.of(rate, 4 * rate), Uint16Array.of(4, 16));
    const file = chunk("RIFF", "WAVE", format, chunk("data", sound), chunk("LIST", "INFO"));
    const found = await decode(file, 16_000);
    const whole = await new OfflineAudioContext(1, 1, 16_000).decodeAudioData(await file.arrayBuffer());
    const [left, right] = [0, 1].map((channel) => whole.getChannelData(channel));
    const differences = found.map((value, i) => Math.abs(value - (left[i] + right[i]) / 2));
    return [found.length, whole.length, differences.reduce((a, b) => Math.max(a, b))];
  });
  assert.ok(Math.abs(length - wholeLength) < 64, `${length}, ${wholeLength}`); // what the resampler adds
  assert.ok(difference < 1e-4, difference);
});

for (const [kind, message] of [
  ["text", /no audio in it that it can decode/],
  ["silence", /no speech was found/],
  ["noise", /no speech was found/],
  ["short", /20 ms is too short/],
]) {
  test(`says what is wrong with ${kind}`, async () => {
    const page = await shared();
    await page.setInputFiles("#file", given.files[kind]);
    await page.waitForSelector("#error:not([hidden])");
    assert.match(await page.textContent("#error"), message);
    await page.setInputFiles("#file", given.files.sample); // and goes on
    await page.waitForSelector("#result:not([hidden])");
    assert.ok(await page.isHidden("#error"));
  });
}

test("says that there is no microphone", async () => {
  const page = await open({ permissions: ["microphone"] });
  for (const button of ["Record", "Live"]) {
    await page.getByRole("button", { name: button, exact: true }).click();
    await page.waitForSelector("#error:not([hidden])");
    assert.match(await page.textContent("#error"), /No microphone was found/);
  }
});

test("says that the microphone was refused", async () => {
  const refusing = await launch(["--use-fake-device-for-media-stream", "--deny-permission-prompts"]);
  const page = await open({}, refusing);
  await page.getByRole("button", { name: "Record" }).click();
  await page.waitForSelector("#error:not([hidden])");
  assert.match(await page.textContent("#error"), /not allowed for this page/);
  await refusing.close();
});

test("records from the microphone, by keyboard", async () => {
  const hearing = await launch(MICROPHONE);
  const page = await open({}, hearing);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "file");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#meter:not([hidden])");
  await hears(page, 4);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#result:not([hidden])");
  assert.equal(await page.textContent("#name"), "your recording");
  assert.equal(await page.textContent("#emotion"), given.expected.sample.emotion);
  assert.equal(await page.locator("#bars tbody tr").count(), 8);
  await assertNothingOpen(page, 1);
  await hearing.close();
});

test("answers live over a file that it was listening to, stops, and gives what it heard", async () => {
  const hearing = await launch(SPEAKER);
  const page = await open({}, hearing);
  await page.setInputFiles("#file", given.files.talk);
  await page.waitForSelector("#segments button");
  await page.evaluate(() => (window.opened.said = []));
  await page.getByRole("button", { name: "Live" }).click();
  await page.waitForSelector("#name:text-is('live')");
  await hears(page, 5);
  assert.equal(await page.textContent("#error"), "");
  assert.deepEqual(await page.evaluate(() => window.opened.said), []);
  await page.getByRole("button", { name: "Stop" }).click();
  await says(page, "Live");
  await assertNothingOpen(page, 1);
  const { file, seconds, segments } = JSON.parse(await downloaded(page, "#json"));
  assert.equal(file, "live");
  assert.ok(seconds > 4 && Math.abs(segments.at(-1).end - seconds) < 1e-3, `${seconds} s`);
  assert.match(await page.textContent("#recordings li:first-child"), /cancelled/);
  assert.deepEqual(await page.evaluate(() => window.opened.said.length), 1);
  await hearing.close();
});

test("downloads little, says how much is there, and opens again without a network", async () => {
  const page = await open({}, browser, false);
  await page.waitForSelector("html[data-ready]");
  assert.match(await page.evaluate(() => window.opened.first), /Loading/);
  const { bytes } = await page.evaluate(async () => (await fetch("model.json")).json());
  delete bytes["sample.wav"]; // which is fetched when it is tried
  const answers = await Promise.all(
    Object.keys(bytes).map((name) => fetch(new URL(name, given.url), { headers: { "Accept-Encoding": "gzip" } })),
  );
  const sizes = answers.map(({ headers }) => Number(headers.get("content-length")));
  assert.ok(sizes.every((size) => size > 0));
  const [sent, whole] = [sizes, Object.values(bytes)].map((each) => each.reduce((a, b) => a + b));
  console.log(`first visit: ${(whole / 1e6).toFixed(1)} MB, ${(sent / 1e6).toFixed(1)} MB as sent`);
  assert.ok(whole < 22e6 && sent < 11e6);
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.context().setOffline(true);
  await page.reload();
  await page.waitForSelector("html[data-ready]");
  await page.getByText("Try the sample").click();
  await says(page, "sample.wav");
  await page.close();
});

test("keeps one version of the page, and nothing of other pages away", async () => {
  const page = await open();
  const kept = await page.evaluate(async () => {
    const changed = async (version) => {
      const { installing, waiting, active } = await navigator.serviceWorker.register(`service-worker.js?${version}`);
      const worker = installing ?? waiting ?? active;
      while (worker.state !== "activated") await new Promise((resolve) => (worker.onstatechange = resolve));
      return (await caches.keys()).sort();
    };
    await navigator.serviceWorker.ready;
    await caches.open("of another page");
    const { version } = await (await fetch("model.json")).json();
    return [version, await changed(version), await changed("next")];
  });
  const names = (version) => [`ser_gpu ${given.url} ?${version}`, "of another page"].sort();
  assert.deepEqual(kept.slice(1), [names(kept[0]), names("next")]);
  await page.close();
});

test("tells a screen reader one line for an answer", async () => {
  const page = await open();
  await page.setInputFiles("#file", given.files.long);
  await says(page, "long.wav");
  assert.equal((await page.evaluate(() => window.opened.said)).length, 1);
  await page.close();
});

test("leaves no microphone open, whatever is pressed, and when", async () => {
  const hearing = await launch(SPEAKER);
  const page = await open({}, hearing);
  await page.getByText("Teach it your voice").click();
  const buttons = { record: "#record", live: "#live", teach: "#sentences li:first-child button", other: "#sentences li:last-child button" };
  const press = (name) => page.locator(buttons[name]).click();
  for (const name of Object.keys(buttons)) {
    await page.locator(buttons[name]).dblclick(); // one start
    await page.waitForSelector("#meter:not([hidden])");
    await press(name);
    await assertNothingOpen(page, 1);
    await press(name); // and off while the microphone is asked for
    await press(name);
    await assertNothingOpen(page);
  }
  for (const first of Object.keys(buttons)) {
    for (const second of Object.keys(buttons).filter((name) => name !== first)) {
      await press(first);
      if (second === "live") await page.waitForSelector("#meter:not([hidden])");
      await press(second);
      await page.waitForSelector("#meter:not([hidden])");
      const live = await page.evaluate(() => window.opened.tracks.filter(({ readyState }) => readyState === "live").length);
      assert.equal(live, 1, `${first}, then ${second}`);
    }
    await page.setInputFiles("#file", given.files.sample);
    await says(page, "sample.wav");
    await assertNothingOpen(page);
    assert.equal(JSON.parse(await downloaded(page, "#json")).file, "sample.wav");
  }
  await press("record");
  await page.waitForSelector("#meter:not([hidden])");
  await page.click("#cancel");
  await assertNothingOpen(page);
  assert.equal(await page.textContent("#name"), "sample.wav");
  await press("live");
  await page.waitForSelector("#name:text-is('live')");
  await page.locator("#recordings button:has-text('sample.wav')").first().click();
  await page.waitForTimeout(1500);
  assert.equal(await page.textContent("#name"), "sample.wav"); // what was chosen stays
  await press("live");
  await page.waitForSelector("#name:text-is('live')");
  await assertNothingOpen(page);
  const rows = await page.locator("#recordings li").count();
  for (let turn = 0; turn < 3; turn++) await page.getByText("Try the sample").dblclick();
  await page.waitForFunction((count) => document.querySelectorAll("#recordings li").length === count, rows + 3);
  await assertNothingOpen(page);
  await hearing.close();
});

/** A page whose microphone, and the sound that comes of it, does what a test says. */
async function withMicrophone(of, change) {
  const page = await (await of.newContext()).newPage();
  page.setDefaultTimeout(WAIT_MS);
  page.on("pageerror", (error) => problems.push(error.message));
  await page.addInitScript(countOpen);
  await page.addInitScript(change);
  await page.goto(given.url);
  await page.waitForSelector("html[data-ready]");
  return page;
}

test("stops a microphone whose sound never starts, and says that one was taken away", async () => {
  const hearing = await launch(SPEAKER);
  const silent = await withMicrophone(hearing, () => (AudioContext.prototype.resume = () => new Promise(() => {})));
  for (const id of ["#record", "#live"]) {
    await silent.click(id);
    await silent.waitForFunction(() => window.opened.contexts.some(({ state }) => state !== "closed"));
    await silent.click(id);
    await assertNothingOpen(silent, 1);
  }
  const taken = await withMicrophone(hearing, () => {
    const { addModule } = AudioWorklet.prototype;
    AudioWorklet.prototype.addModule = function (...rest) {
      window.opened.tracks.at(-1).stop(); // before the page listens to it
      return addModule.apply(this, rest);
    };
  });
  for (const id of ["#record", "#live"]) {
    await taken.click(id);
    await taken.waitForSelector("#error:has-text('taken away')");
    await assertNothingOpen(taken, 1);
  }
  await hearing.close();
});

test("answers with the voice of now where it changes or is deleted while it answers", async () => {
  const page = await open();
  await page.getByText("Teach it your voice").click();
  await page.setInputFiles("#voice-file", given.files.voice);
  await page.waitForSelector("#voice:not([hidden])");
  await page.setInputFiles("#file", given.files.talk);
  await page.waitForSelector("#segments button");
  await page.getByRole("button", { name: "Delete my voice" }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.waitForSelector("#voice", { state: "hidden" });
  await page.waitForSelector("#work", { state: "hidden" });
  const { file, voice, segments } = JSON.parse(await downloaded(page, "#json"));
  assert.deepEqual([file, voice], ["talk.wav", false]);
  for (const [at, probabilities] of given.talk.ends) assertNear(segments.at(at).probabilities, probabilities);
  assert.equal(await page.evaluate(() => localStorage.getItem("ser_gpu.voice")), null);
  await page.close();
});

test("ends well whatever is pressed while it reads, answers, records and learns", async () => {
  const hearing = await launch(SPEAKER);
  const page = await open({}, hearing, false);
  await page.click("#record"); // while the model loads
  await page.setInputFiles("#file", given.files.sample);
  await says(page, "sample.wav");
  await assertNothingOpen(page);
  await page.getByText("Try the sample").click(); // what is pressed last wins
  await page.click("#record");
  await page.waitForSelector("#meter:not([hidden])");
  await page.waitForTimeout(500);
  assert.equal(await page.getAttribute("#record", "aria-pressed"), "true");
  await hears(page, 2);
  await page.click("#record");
  assert.equal(await page.textContent("#record"), "Record"); // it is no recording that is being answered
  await says(page, "your recording");
  assert.equal(JSON.parse(await downloaded(page, "#json")).file, "your recording");
  await page.setInputFiles("#file", [given.files.silence, given.files.sample]);
  await says(page, "sample.wav");
  assert.ok(await page.isHidden("#error")); // of a recording that is not shown
  await page.setInputFiles("#file", given.files.talk);
  await page.waitForSelector("#segments button");
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { value: true, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await page.click("#cancel");
  await assertNothingOpen(page);
  assert.ok(await page.isHidden("#result"));
  assert.equal(await page.textContent("#status"), "Cancelled.");
  await hearing.close();
});

test("stays readable in light, dark, forced colours and on a phone", async () => {
  for (const [name, options] of Object.entries({
    light: { viewport: { width: 900, height: 900 }, colorScheme: "light", deviceScaleFactor: 2 },
    dark: { viewport: { width: 900, height: 900 }, colorScheme: "dark", deviceScaleFactor: 2 },
    forced: { viewport: { width: 900, height: 900 }, forcedColors: "active" },
    phone: { viewport: { width: 375, height: 740 }, colorScheme: "light", deviceScaleFactor: 2 },
    narrow: { viewport: { width: 320, height: 640 }, colorScheme: "dark" },
  })) {
    const page = await open(options);
    await assertAccessible(page);
    await page.setInputFiles("#file", given.files.minute);
    await says(page, "minute.wav");
    await page.waitForSelector("#spectrogram[aria-label]");
    const [pixels, width] = await page.evaluate(() => [document.querySelector("#waveform").width, document.querySelector("#waveform").clientWidth]);
    assert.equal(pixels, Math.round(width * (options.deviceScaleFactor ?? 1)), "sharp");
    if (given.screenshots) await page.screenshot({ path: `${given.screenshots}/page-${name}.png`, fullPage: true });
    await page.getByText("Teach it your voice").click();
    await assertAccessible(page);
    await page.close();
  }
});
