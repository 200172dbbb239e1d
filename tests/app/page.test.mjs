// The page in a real browser; tests/app/test_page.py serves it, makes the recordings and runs this file.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg } from "node:os";
import { after, afterEach, before, test as nodeTest } from "node:test";

const given = JSON.parse(readFileSync(process.env.SER_APP_GIVEN, "utf8"));
const { chromium } = createRequire(given.modules)("playwright-core");
const TOLERANCE = 1e-3; // of a probability: float32 sums in another order
const FIRST_MS = 3000;
const NEXT_MS = 500;
const isQuiet = loadavg()[0] <= cpus().length; // else the times are those of other programs
const MICROPHONE = [
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  `--use-file-for-fake-audio-capture=${given.files.microphone}%noloop`,
];

const SPEAKER = [...MICROPHONE.slice(0, 2), `--use-file-for-fake-audio-capture=${given.files.sample}`];

const launch = (args = []) =>
  chromium.launch({ executablePath: given.chromium, args: ["--no-sandbox", "--disable-gpu", ...args] });

// where other programs take the processor, a minute of work takes many
const test = (name, run) => nodeTest(name, { timeout: 600_000 }, run);
const WAIT_MS = 180_000;
let browser;
const requests = [];
const problems = [];

before(async () => {
  browser = await launch();
});
after(() => browser.close());
afterEach(() => {
  assert.deepEqual(requests.filter((url) => !/^(blob:|data:)/.test(url) && new URL(url).hostname !== "localhost"), []);
  assert.deepEqual(problems.splice(0), []);
});

async function open(options = {}, of = browser, isReady = true) {
  const page = await (await of.newContext(options)).newPage();
  page.setDefaultTimeout(WAIT_MS);
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => problems.push(error.message));
  await page.goto(given.url);
  if (isReady) await page.waitForSelector("html[data-ready]");
  return page;
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
  assert.ok(first < FIRST_MS || !isQuiet, `${first} ms`);
  assert.ok(median < NEXT_MS || !isQuiet, `${median} ms`);
  const { file, emotion, probabilities } = JSON.parse(await downloaded(page, "#json"));
  assert.equal(file, "9.wav");
  assert.equal(emotion, given.expected.sample.emotion);
  assertNear(probabilities, given.expected.sample.probabilities);
  assert.match(await page.textContent("#emotion"), new RegExp(emotion));
});

test("answers a long recording over time as ser-gpu timeline does, and gives a table of it", async () => {
  const page = await shared();
  await page.setInputFiles("#file", given.files.long);
  await page.waitForSelector("#over-time:not([hidden])");
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
  assert.equal(await page.locator("#segments tbody tr").count(), segments.length);
  await page.setInputFiles("#file", given.files.sample); // a short one has no table
  await page.waitForSelector("#over-time", { state: "hidden" });
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
  const learnt = await page.evaluate(async (contents) => {
    const [{ decode }, { Model }, { enrol }] = await Promise.all(["audio", "model", "voice"].map((name) => import(`./${name}.js`)));
    const model = await Model.load();
    const bytes = contents.map((content) => Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0)).buffer);
    return enrol(await Promise.all(bytes.map((each) => decode(each, model.about.sample_rate))), model);
  }, contents);
  const expected = JSON.parse(readFileSync(given.files.voice, "utf8"));
  for (const name of ["kind", "format_version", "model", "recordings", "windows", "emotions"]) {
    assert.deepEqual(learnt[name], expected[name], name);
  }
  assert.ok(Math.abs(learnt.seconds - expected.seconds) < 1e-3);
  for (const name of ["mean", "variance"]) {
    const scale = Math.max(...expected[name].map(Math.abs));
    learnt[name].forEach((value, i) => assert.ok(Math.abs(value - expected[name][i]) < 1e-4 * scale, `${name} ${i}`));
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

test("learns a voice from eight sentences, by keyboard, keeps it, and deletes it", async () => {
  const hearing = await launch(SPEAKER);
  const page = await open({}, hearing);
  await page.locator("#teach summary").focus();
  await page.keyboard.press("Enter");
  for (let at = 1; at <= 8; at++) {
    assert.match(await page.textContent("#teach-count"), new RegExp(`Sentence ${at} of 8`));
    await page.locator("#teach-record").focus();
    await page.keyboard.press("Enter");
    await page.waitForSelector("#teach-record[aria-pressed=true]");
    await page.waitForTimeout(1200);
    await page.keyboard.press("Enter");
    const heard = at < 8 ? `#teach-status:has-text("Heard: ${at} of 8.")` : "#voice:not([hidden])";
    await page.waitForSelector(`${heard}, #teach-error:not([hidden])`);
    assert.equal(await page.textContent("#teach-error"), "");
  }
  assert.match(await page.textContent("#voice-about"), /8 recordings/);
  writeFileSync(given.taught, await downloaded(page, "#voice-download"));
  await page.reload();
  await page.waitForSelector("#voice:not([hidden])");
  assert.ok(await page.isChecked("#voice-use"));
  await page.getByRole("button", { name: "Delete my voice" }).click();
  await page.waitForSelector("#voice", { state: "hidden" });
  await page.reload();
  await page.waitForSelector("html[data-ready]");
  assert.ok(await page.isHidden("#voice"));
  await hearing.close();
});

for (const kind of given.compressed) {
  test(`decodes ${kind}`, async () => {
    const page = await shared();
    await page.setInputFiles("#file", given.files[kind]);
    await page.waitForSelector(`#result:not([hidden]) >> text=sample.${kind}`);
    assert.match(await page.textContent("#emotion"), new RegExp(given.expected.sample.emotion));
  });
}

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
  await page.waitForSelector("#record[aria-pressed=true]");
  await page.waitForTimeout(4000);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#result:not([hidden])");
  assert.equal(await page.textContent("#name"), "your recording");
  assert.equal(await page.locator("#bars tbody tr").count(), 8);
  await hearing.close();
});

test("answers live, and stops", async () => {
  const hearing = await launch(MICROPHONE.map((flag) => flag.replace("%noloop", "")));
  const page = await open({}, hearing);
  await page.getByRole("button", { name: "Live" }).click();
  await page.waitForSelector("#result:not([hidden]), #error:not([hidden])");
  assert.equal(await page.textContent("#error"), "");
  assert.equal(await page.textContent("#name"), "live");
  await page.getByRole("button", { name: "Stop" }).click();
  await page.waitForSelector("#live[aria-pressed=false]");
  await hearing.close();
});

test("shows the sample in light, dark and on a phone", async () => {
  for (const [name, options] of Object.entries({
    light: { viewport: { width: 900, height: 900 }, colorScheme: "light" },
    dark: { viewport: { width: 900, height: 900 }, colorScheme: "dark" },
    phone: { viewport: { width: 360, height: 740 }, colorScheme: "light", deviceScaleFactor: 2 },
  })) {
    const page = await open(options);
    await page.getByRole("button", { name: "Try the sample" }).click();
    await page.waitForSelector("#spectrogram[aria-label]");
    await page.getByText("Teach it your voice").click();
    await page.waitForTimeout(300);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, "no sideways scroll");
    if (given.screenshots) await page.screenshot({ path: `${given.screenshots}/page-${name}.png`, fullPage: true });
    await page.close();
  }
  assert.ok(await (await open()).evaluate(() => crossOriginIsolated), "threads");
});
