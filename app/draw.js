// What the page shows of a recording: waveform, spectrogram, bars, segments.

export function drawWaveform(canvas, samples) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  context.fillStyle = getComputedStyle(canvas).getPropertyValue("--accent");
  let peak = 1e-9;
  for (const value of samples) peak = Math.max(peak, Math.abs(value));
  const each = samples.length / width;
  for (let x = 0; x < width; x++) {
    let low = 0;
    let high = 0;
    for (let i = Math.floor(x * each); i < (x + 1) * each && i < samples.length; i++) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    const top = (height / 2) * (1 - high / peak);
    context.fillRect(x, top, 1, Math.max(1, (height / 2) * (1 - low / peak) - top));
  }
}

export function drawSpectrogram(canvas, bands, topDb) {
  const frames = bands[0].length;
  const image = new ImageData(frames, bands.length);
  bands.forEach((band, row) =>
    band.forEach((value, frame) => image.data.set(colour(1 + value / topDb), 4 * ((bands.length - 1 - row) * frames + frame))),
  );
  const small = new OffscreenCanvas(frames, bands.length);
  small.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

// magma, at five places
const STOPS = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

function colour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const left = Math.min(Math.floor(place), STOPS.length - 2);
  return [...STOPS[left].map((value, i) => value + (STOPS[left + 1][i] - value) * (place - left)), 255];
}

export function showBars(table, probabilities) {
  const best = Math.max(...Object.values(probabilities));
  table.tBodies[0].replaceChildren(
    ...Object.entries(probabilities).map(([label, share]) => {
      const row = document.createElement("tr");
      row.className = share === best ? "best" : "";
      row.innerHTML = '<th scope="row"></th><td><div class="bar"></div></td><td></td>';
      row.cells[0].textContent = label;
      row.querySelector(".bar").style.width = `${100 * share}%`;
      row.cells[2].textContent = percent(share);
      return row;
    }),
  );
}

export function showSegments(strip, table, segments) {
  strip.replaceChildren(
    ...segments.map(({ start, end, speech, emotion }) => {
      const part = document.createElement("div");
      part.className = speech ? "speech" : "";
      part.style.flex = `${end - start} 0 0`;
      part.textContent = emotion ?? "";
      return part;
    }),
  );
  table.tBodies[0].replaceChildren(
    ...segments.map(({ start, end, speech, emotion, confidence }) => {
      const row = document.createElement("tr");
      const said = speech ? [emotion, percent(confidence)] : ["nobody speaks", ""];
      for (const text of [`${start.toFixed(1)} to ${end.toFixed(1)}`, ...said]) row.insertCell().textContent = text;
      return row;
    }),
  );
}

export function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}
