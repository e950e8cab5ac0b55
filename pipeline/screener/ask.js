// Sends one request from within the page, with its cookies: (key, address, body or null, headers, time limit in ms). What came of it
// is kept under `key` in the page, null until then. A page that reloads itself loses the key, so that this is noticed at once.
const [key, url, body, headers, limit] = arguments;
const method = body === null ? "GET" : "POST";
const inTime = `nothing within ${limit / 1000} s`;

async function byFetch() {
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(), limit);
  const options = { method, credentials: "include", signal: control.signal, cache: "no-store" };
  if (body !== null) Object.assign(options, { body, headers });
  try {
    const answer = await fetch(url, options);
    const led_to = answer.redirected ? answer.url : "";
    return { status: answer.status, text: await answer.text(), retry_after: answer.headers.get("Retry-After"), led_to };
  } catch (error) {
    return { status: 0, error: control.signal.aborted ? inTime : String(error) };
  } finally {
    clearTimeout(timer);
  }
}

function byOlderWay() {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.withCredentials = true;
    request.timeout = limit;
    if (body !== null) for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.onload = () => {
      const led_to = request.responseURL === String(new URL(url, location)).split("#")[0] ? "" : request.responseURL;
      resolve({ status: request.status, text: request.responseText, retry_after: request.getResponseHeader("Retry-After"), led_to });
    };
    request.ontimeout = () => resolve({ status: 0, error: inTime });
    request.onerror = request.onabort = () => resolve({ status: 0, error: "the request failed" });
    request.send(body);
  });
}

// Some pages put something of their own in the place of `fetch`, or nothing.
window[key] = null;
(typeof fetch === "function" ? byFetch() : byOlderWay()).then((found) => (window[key] = found));
