// What the page shows of a recording: waveform in the colours of its emotions, spectrogram, bars, segments.

const NAMES = 18; // px above the waveform
const AXIS = 18; // px below it
const PX_BETWEEN_TICKS = 64;
const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600]; // s
const OTHERS = ["--emotion-neutral", "--emotion-calm", "--emotion-happy", "--emotion-sad"]; // of labels without a colour

/** The custom property with the colour of an emotion. */
export function colourOf(emotion, labels) {
  const own = `--emotion-${emotion}`;
  const isKnown = getComputedStyle(document.documentElement).getPropertyValue(own);
  return isKnown ? own : OTHERS[Math.max(0, labels.indexOf(emotion)) % OTHERS.length];
}

/** `view`: {samples, rate, offset, seconds, segments, labels}; `offset` and `seconds` say which time is shown. */
export function drawWaveform(canvas, view) {
  const { width, height, context, style } = fitted(canvas);
  const pixels = Math.round(width);
  const colour = (name) => style.getPropertyValue(name);
  const middle = NAMES + (height - NAMES - AXIS) / 2;
  const reach = (height - NAMES - AXIS) / 2;
  const { low, high } = peaks(view, pixels);
  const largest = Math.max(1e-3, ...high, ...low.map((value) => -value));
  let at = 0;
  let last;
  for (let x = 0; x < high.length; x++) {
    const seconds = view.offset + ((x + 0.5) / pixels) * view.seconds;
    while (at < view.segments.length && view.segments[at].end <= seconds) at++;
    const segment = view.segments[at];
    const emotion = segment?.speech && segment.start <= seconds ? segment.emotion : null;
    if (emotion !== last) context.fillStyle = colour(emotion ? colourOf(emotion, view.labels) : "--silence");
    last = emotion;
    const top = middle - (reach * high[x]) / largest;
    context.fillRect(x, top, 1, Math.max(1, middle - (reach * low[x]) / largest - top));
  }
  context.font = `13px ${style.fontFamily}`;
  context.textBaseline = "middle";
  context.fillStyle = colour("--text");
  for (const { start, end, emotion } of runs(view.segments)) {
    if (end <= view.offset) continue;
    const left = Math.max(0, ((start - view.offset) / view.seconds) * width);
    const room = ((end - view.offset) / view.seconds) * width - left;
    if (context.measureText(emotion).width <= room) context.fillText(emotion, left, NAMES / 2);
  }
  context.fillStyle = colour("--quiet");
  const step = STEPS.find((each) => (each / view.seconds) * width >= PX_BETWEEN_TICKS) ?? STEPS.at(-1);
  for (let time = Math.ceil(view.offset / step) * step; time <= view.offset + view.seconds; time += step) {
    const x = ((time - view.offset) / view.seconds) * width;
    const text = clock(time, step < 1);
    context.fillRect(Math.min(x, width - 1), height - AXIS, 1, 4);
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(Math.max(x, half), width - half) - half, height - AXIS / 2 + 2);
  }
}

/** Neighbours of one emotion, with the pauses between them. */
function runs(segments) {
  const found = [];
  for (const { start, end, speech, emotion } of segments) {
    if (!speech) continue;
    if (found.at(-1)?.emotion === emotion) found.at(-1).end = end;
    else found.push({ start, end, emotion });
  }
  return found;
}

/** The lowest and the highest sample of each column. */
function peaks(view, columns) {
  if (view.peaks?.columns === columns && view.peaks.of === view.samples) return view.peaks;
  const each = (view.seconds * view.rate) / columns;
  const filled = Math.min(columns, Math.ceil(view.samples.length / each)); // less while live sound fills its minute
  const low = new Float32Array(filled);
  const high = new Float32Array(filled);
  for (let x = 0; x < filled; x++) {
    const end = Math.min((x + 1) * each, view.samples.length);
    for (let i = Math.floor(x * each); i < end; i++) {
      const value = view.samples[i];
      if (value < low[x]) low[x] = value;
      else if (value > high[x]) high[x] = value;
    }
  }
  view.peaks = { low, high, columns, of: view.samples };
  return view.peaks;
}

/** The canvas with as many pixels as the screen has, cleared, in units of CSS. */
function fitted(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return { width, height, context, style: getComputedStyle(canvas) };
}

export function drawSpectrogram(canvas, bands, topDb) {
  const frames = bands[0].length;
  const image = new ImageData(frames, bands.length);
  bands.forEach((band, row) =>
    band.forEach((value, frame) => image.data.set(magma(1 + value / topDb), 4 * ((bands.length - 1 - row) * frames + frame))),
  );
  const small = new OffscreenCanvas(frames, bands.length);
  small.getContext("2d").putImageData(image, 0, 0);
  const { context, width, height } = fitted(canvas);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, width, height);
}

// magma, at five places
const STOPS = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

function magma(share) {
  const place = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const left = Math.min(Math.floor(place), STOPS.length - 2);
  return [...STOPS[left].map((value, i) => value + (STOPS[left + 1][i] - value) * (place - left)), 255];
}

/** Shares by emotion as bars, [emotion, share] in the order to show. */
export function showBars(table, shares, labels) {
  const largest = Math.max(...shares.map(([, share]) => share));
  table.tBodies[0].replaceChildren(
    ...shares.map(([emotion, share]) => {
      const row = document.createElement("tr");
      row.className = share > 0 && share === largest ? "best" : "";
      row.innerHTML = '<th scope="row"></th><td><div class="bar"></div></td><td></td>';
      row.cells[0].textContent = emotion;
      const bar = row.querySelector(".bar");
      bar.style.width = `${100 * share}%`;
      bar.style.setProperty("--colour", `var(${colourOf(emotion, labels)})`);
      row.cells[2].textContent = percent(share);
      return row;
    }),
  );
}

/** One button for each segment with speech; those that stay the same stay, and keep the focus. */
export function showSegments(list, segments, labels, onChoose) {
  const spoken = segments.filter(({ speech }) => speech);
  spoken.forEach((segment, at) => {
    const key = `${segment.start} ${segment.end} ${segment.emotion} ${segment.confidence}`;
    const before = list.children[at];
    if (before?.dataset.key === key) return;
    const item = document.createElement("li");
    item.dataset.key = key;
    item.innerHTML = '<button type="button" class="segment"><span></span><i class="swatch"></i><b></b><span></span></button>';
    const [time, swatch, emotion, share] = item.firstChild.children;
    time.textContent = `${clock(segment.start, true)} – ${clock(segment.end, true)}`;
    swatch.style.setProperty("--colour", `var(${colourOf(segment.emotion, labels)})`);
    emotion.textContent = segment.emotion;
    share.textContent = percent(segment.confidence, 0);
    item.firstChild.addEventListener("click", () => onChoose(segment, item.firstChild));
    if (before) before.replaceWith(item);
    else list.append(item);
  });
  while (list.children.length > spoken.length) list.lastChild.remove();
}

export function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)}\u00a0%`;
}

/** Seconds as m:ss, or m:ss.t. */
export function clock(seconds, hasTenths = false) {
  const tenths = hasTenths ? Math.round(10 * seconds) : 10 * Math.round(seconds);
  const whole = Math.floor(tenths / 10);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const start = hours ? `${hours}:${String(minutes).padStart(2, "0")}` : String(minutes);
  return `${start}:${String(whole % 60).padStart(2, "0")}${hasTenths ? `.${tenths % 10}` : ""}`;
}
