// Keeps the page and its model, so that it opens again without a network.

const CACHE = "ser_gpu";

self.addEventListener("install", (event) => event.waitUntil(keepAll()));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && new URL(url).origin === self.location.origin) event.respondWith(answer(event));
});

async function keepAll() {
  self.skipWaiting();
  const cache = await caches.open(CACHE);
  const { bytes } = await (await fetch("model.json")).json();
  await cache.addAll(["./", "model.json", ...Object.keys(bytes)]);
}

/** From the network as long as there is one, since a page and a model of two versions do not fit. */
async function answer(event) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(event.request);
    if (response.ok) event.waitUntil(cache.put(event.request, response.clone()));
    return response;
  } catch (error) {
    const kept = await cache.match(event.request);
    if (kept) return kept;
    throw error;
  }
}
