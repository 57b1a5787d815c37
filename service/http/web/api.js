// The service over HTTP. Addresses are relative, so a proxy may serve it under a prefix.

import { key, refuse } from "./session.js";

/** An error, as described by the service's problem document (RFC 9457). */
export class Problem extends Error {
  constructor({ title = "Error", detail = "", status = 0, code = "", errors = [], request_id: id = "" }) {
    super(detail || title);
    Object.assign(this, { title, detail, status, code, errors: errors ?? [], requestId: id, wait: null });
  }
}

/**
 * Sends a request and reads the answer.
 * @param {string} method
 * @param {string} path Relative to the page, parts already encoded (see `at`).
 * @param {{json?: any, form?: FormData, body?: Blob, query?: Object, headers?: Object,
 *   as?: "json"|"blob", token?: string, quiet?: boolean, signal?: AbortSignal}} options `quiet`
 *   leaves the handling of a refused key to the caller.
 * @throws {Problem} The service refused or could not be reached; an AbortError if `signal` fired.
 */
export async function call(method, path, options = {}) {
  const { json, form, body, query = {}, headers = {}, as = "json", signal } = options;
  const request = {
    method,
    headers: { ...authorization(options.token), ...headers },
    body: form ?? body,
    signal,
  };
  if (json !== undefined) {
    request.body = JSON.stringify(json);
    request.headers["Content-Type"] = "application/json";
  }
  const response = await reach(path + encode(query), request);
  if (!response.ok) throw await problemOf(response, options.quiet);
  return as === "blob" ? response.blob() : response.json();
}

/**
 * Retries work that the service may refuse temporarily.
 * @param {() => Promise<any>} work
 * @param {number} times Number of attempts.
 */
export async function patiently(work, times = 30) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!error.wait || attempt === times) throw error;
      await new Promise((resolve) => {
        setTimeout(resolve, error.wait * 1000);
      });
    }
  }
}

/** A path from parts that may contain any character; slashes are kept. */
export function at(...parts) {
  return parts.map((part) => encodeURIComponent(part).replaceAll("%2F", "/")).join("/");
}

/**
 * Uploads a file and reports progress, which fetch cannot.
 * @param {(share: number) => void} progress Called with 0..1.
 */
export function upload(path, file, { query = {}, headers = {}, progress, signal } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path + encode(query));
    for (const [name, value] of Object.entries({ ...authorization(), ...headers }))
      request.setRequestHeader(name, value);
    request.upload.addEventListener(
      "progress",
      (event) => event.lengthComputable && progress(event.loaded / event.total),
    );
    request.addEventListener("load", () => {
      const answer = parse(request.responseText);
      if (request.status < 300) resolve(answer);
      else reject(refused(new Problem({ status: request.status, title: request.statusText, ...answer })));
    });
    request.addEventListener("error", () => reject(unreachable()));
    request.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/**
 * Reads server-sent events until the service ends the stream.
 * @param {{signal: AbortSignal, onOpen: () => Promise<void>, onEvent: (data: Object) => void}} options
 *   `onOpen` is called once the service sends what is stored from now on.
 */
export async function listen(path, { signal, onOpen, onEvent }) {
  const response = await reach(path, { headers: authorization(), signal });
  if (!response.ok) throw await problemOf(response);
  const opened = onOpen();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return opened;
    text += value;
    const whole = text.split("\n\n");
    text = whole.pop();
    for (const message of whole) {
      const data = /^data: (.*)$/m.exec(message)?.[1];
      if (data) onEvent(JSON.parse(data));
    }
  }
}

async function reach(address, request) {
  try {
    return await fetch(address, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
}

async function problemOf(response, quiet) {
  const body = parse(await response.text());
  const problem = new Problem({ title: response.statusText || "Error", ...body, status: response.status });
  problem.wait = Number(response.headers.get("Retry-After")) || null;
  return quiet ? problem : refused(problem);
}

function refused(problem) {
  if (problem.status === 401) refuse(problem);
  return problem;
}

function unreachable() {
  return new Problem({ title: "No answer", detail: "The service cannot be reached.", code: "unreachable" });
}

function authorization(token = key()) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function encode(query) {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value]
      .flat()
      .filter((one) => one !== null && one !== undefined && one !== "")
      .map((one) => [name, one]),
  );
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

function parse(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
