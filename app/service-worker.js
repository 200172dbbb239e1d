// Keeps the page and its model, so that it opens again without a network.

const PREFIX = `ser_gpu ${self.registration.scope} `; // other pages of this host keep their own
const CACHE = PREFIX + self.location.search; // the version of the page

self.addEventListener("install", (event) => event.waitUntil(keepAll()));
self.addEventListener("activate", (event) => event.waitUntil(forgetOthers()));
self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && new URL(url).origin === self.location.origin) event.respondWith(answer(event.request));
});

async function keepAll() {
  self.skipWaiting();
  const cache = await caches.open(CACHE);
  const { bytes } = await (await fetch("model.json")).json();
  const names = ["./", "model.json", ...Object.keys(bytes)];
  await cache.addAll(names.map((name) => new Request(name, { cache: "no-cache" })));
}

async function forgetOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)));
  await self.clients.claim();
}

/** From the network as long as there is one, since a page and a model of two versions do not fit. */
async function answer(request) {
  try {
    return await fetch(request);
  } catch (error) {
    const kept = await (await caches.open(CACHE)).match(request);
    if (kept) return kept;
    throw error;
  }
}
