// Requests to the server. Where it is busy or loads its model, they are sent again later.

const KEY = "frcnn-token";
const MOST_TRIES = 200;
const LONGEST_WAIT = 60;

export class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function setToken(token) {
  sessionStorage.setItem(KEY, token);
}

const pause = (seconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, 1000 * seconds);
  signal?.addEventListener("abort", () => {
    clearTimeout(timer);
    reject(signal.reason);
  }, { once: true });
});

async function send(path, options, onWait) {
  const headers = new Headers(options.headers);
  const token = sessionStorage.getItem(KEY);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  for (let tries = 1; ; tries += 1) {
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new ServerError(0, "The server cannot be reached; see whether it still runs.");
    }
    if (response.ok) return response;
    const body = await response.json().catch(() => ({}));
    const message = body.error ?? `The server answered with status ${response.status}.`;
    if (![429, 503].includes(response.status) || tries === MOST_TRIES) {
      throw new ServerError(response.status, message);
    }
    onWait?.(message);
    const wait = Number(response.headers.get("Retry-After")) || 2;
    await pause(Math.min(wait, LONGEST_WAIT), options.signal);
  }
}

const json = (path, body, signal) => send(path, {
  method: "POST", body: JSON.stringify(body), signal,
  headers: { "Content-Type": "application/json" },
});

export async function model() {
  return (await send("/v1/model", {})).json();
}

export async function detect(file, name, { lowest, preview, signal, onWait }) {
  const form = new FormData();
  form.append("file", file, name);
  const query = new URLSearchParams({ min_score: lowest, preview });
  return (await send(`/v1/detect?${query}`, { method: "POST", body: form, signal }, onWait)).json();
}

export async function totals(images) {
  return (await (await json("/v1/totals", { images })).json()).counts;
}

export async function download(images, format) {
  const response = await json(`/v1/export?format=${encodeURIComponent(format)}`, { images });
  const named = response.headers.get("Content-Disposition")?.match(/filename="(.*)"/);
  return { blob: await response.blob(), name: named ? named[1] : format };
}
