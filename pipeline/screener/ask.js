// Sends one request from within the page, with its cookies: (address, body or null, time limit in ms, callback).
const [url, body, limit, done] = arguments;
const control = new AbortController();
const timer = setTimeout(() => control.abort(), limit);
const options = { method: body === null ? "GET" : "POST", credentials: "include", signal: control.signal, cache: "no-store" };
if (body !== null) {
  options.body = body;
  options.headers = { "Content-Type": "application/json" };
}
(async () => {
  try {
    const answer = await fetch(url, options);
    return { status: answer.status, text: await answer.text(), retry_after: answer.headers.get("Retry-After") };
  } catch (error) {
    return { status: 0, error: control.signal.aborted ? `nothing within ${limit / 1000} s` : String(error) };
  } finally {
    clearTimeout(timer);
  }
})().then(done);
