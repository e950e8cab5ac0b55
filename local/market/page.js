// The screener page: filter menus, rows, sorting, paging. Rendered by script throughout, and rendered again after each change, as on a live page.

const state = {
  regions: new Set(["us"]), // pre-ticked, as on the site
  cap: { label: "Any", low: null, high: null },
  start: SETUP.start,
  count: SETUP.count,
  sortField: "intradaymarketcap",
  sortAsc: false,
};
const LABELS = Object.fromEntries(SETUP.regions);
const PRESETS = [
  ["any", "Any", null, null],
  ["mega", "Mega (200B and above)", 200e9, null],
  ["large", "Large (10B to 200B)", 10e9, 200e9],
  ["mid", "Mid (2B to 10B)", 2e9, 10e9],
  ["small", "Small (300M to 2B)", 300e6, 2e9],
  ["micro", "Micro (below 300M)", null, 300e6],
];
// Cell, heading, tracking name, whether the first click sorts ascending.
const COLUMNS = [
  ["ticker", "Symbol", true],
  ["companyshortname.raw", "Name", true],
  ["intradayprice", "Price", false],
  ["intradaypricechange", "Change", false],
  ["percentchange", "Change %", false],
  ["dayvolume", "Volume", false],
  ["avgdailyvol3m", "Avg Vol (3M)", false],
  ["intradaymarketcap", "Market Cap", false],
  ["peratio.lasttwelvemonths", "P/E Ratio (TTM)", false],
  ["fiftytwowkpercentchange", "52 Wk Change %", false],
  ["region", "Region", true],
];
const STREAMED = new Set(["intradayprice", "intradaypricechange", "percentchange", "dayvolume", "intradaymarketcap"]);

// Elements: children are nodes or texts, and texts are never taken for markup.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, String(value));
  }
  node.append(...children);
  return node;
}
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Amounts

function amount(text) {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmbt]?)\s*$/i.exec(text);
  return match ? Math.round(Number(match[1]) * { "": 1, k: 1e3, m: 1e6, b: 1e9, t: 1e12 }[match[2].toLowerCase()]) : NaN;
}
function short(value, digits = 3) {
  for (const [size, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]]) {
    if (Math.abs(value) >= size) return (value / size).toFixed(digits) + letter;
  }
  return String(value);
}
const bound = (value) => short(value, 3).replace(/\.?0+([TBMK])$/, "$1");

function regionText() {
  const chosen = [...state.regions];
  return "Region: " + (chosen.length === 0 ? "Any" : chosen.length === 1 ? LABELS[chosen[0]] : chosen.length + " selected");
}
const capText = () => "Market Cap: " + state.cap.label;

// Panes: what a filter's menu holds. Each has `node`, `reset()`, `changed()`, `valid()` and `commit()`.

function regionPane(update) {
  const boxes = SETUP.regions.map(([code, label]) =>
    el("label", { title: label, class: "yf-hash2" }, el("input", { type: "checkbox", "data-testid": "filter-option-" + code, value: code, onchange: update }), " " + label),
  );
  const inputs = boxes.map((box) => box.firstChild);
  const ticked = () => inputs.filter((input) => input.checked).map((input) => input.value);
  const node = el("div", { class: "options yf-hash2" }, ...(SETUP.options_after_ms ? [] : boxes));
  return {
    node,
    reset: () => {
      inputs.forEach((input) => (input.checked = state.regions.has(input.value)));
      if (!node.children.length) setTimeout(() => node.replaceChildren(...boxes), SETUP.options_after_ms);
    },
    // Apply is of use only once there is something to apply, and looks so before.
    changed: () => !node.children.length || ticked().sort().join() !== [...state.regions].sort().join(),
    valid: () => true,
    commit: () => (state.regions = new Set(ticked())),
  };
}

function capPane(update) {
  let choice = "any";
  let comparison = "Greater Than";
  let inputs = [];
  const custom = el("div", { class: "custom yf-hash2" });
  const radios = [...PRESETS.map(([id, label]) => [id, label]), ["custom", "Custom"]].map(([id, label]) =>
    el("label", { title: label }, el("input", { type: "radio", name: "marketcap", id, onchange: () => { choice = id; showCustom(); update(); } }), " " + label),
  );
  function showCustom() {
    inputs = [];
    custom.replaceChildren();
    if (choice !== "custom") return;
    for (const name of ["Greater Than", "Less Than", "Between"]) {
      custom.append(
        el("button", { type: "button", class: name === comparison ? "chosen" : null, "data-ylk": "elm:option;slk:" + name.replace(" ", "%20") + ";sec:screener",
          onclick: () => { comparison = name; showCustom(); update(); } }, name), " ");
    }
    for (let i = 0; i < (comparison === "Between" ? 2 : 1); i++) {
      inputs.push(el("input", { type: "text", placeholder: "e.g. 10M", oninput: update, "aria-label": comparison === "Between" ? ["Minimum", "Maximum"][i] : comparison }));
    }
    custom.append(el("div", {}, ...inputs));
  }
  function chosen() {
    if (choice !== "custom") {
      const [, , low, high] = PRESETS.find(([id]) => id === choice);
      const label = low === null && high === null ? "Any" : low === null ? "< " + bound(high) : high === null ? "> " + bound(low) : bound(low) + " - " + bound(high);
      return { label, low, high };
    }
    const values = inputs.map((input) => amount(input.value));
    if (values.length === 0 || values.some(Number.isNaN)) return null;
    if (comparison === "Greater Than") return { label: "> " + bound(values[0]), low: values[0], high: null };
    if (comparison === "Less Than") return { label: "< " + bound(values[0]), low: null, high: values[0] };
    return values[0] <= values[1] ? { label: bound(values[0]) + " - " + bound(values[1]), low: values[0], high: values[1] } : null;
  }
  return {
    node: el("div", { class: "options yf-hash2" }, ...radios, custom),
    reset: () => {
      const preset = PRESETS.find(([, , low, high]) => low === state.cap.low && high === state.cap.high);
      choice = preset ? preset[0] : "custom";
      radios.forEach((radio) => (radio.firstChild.checked = radio.firstChild.id === choice));
      showCustom();
      if (choice === "custom") {
        [state.cap.low, state.cap.high].filter((value) => value !== null).forEach((value, i) => { if (inputs[i]) inputs[i].value = value; });
      }
    },
    changed: () => { const now = chosen(); return now === null || now.low !== state.cap.low || now.high !== state.cap.high; },
    valid: () => chosen() !== null,
    commit: () => (state.cap = chosen()),
  };
}

// Menus

// A dialog with its button; Apply takes every pane of it at once.
function menu(button, panes, body, applyAttributes) {
  const apply = el("button", { type: "button", disabled: true, ...applyAttributes }, "Apply");
  const dialog = el("div", { class: "dialog-container menu-surface-dialog yf-hash3", role: "dialog", "aria-hidden": "true" }, body, apply);
  const close = () => dialog.setAttribute("aria-hidden", "true");
  button.addEventListener("click", () => {
    const opens = dialog.getAttribute("aria-hidden") === "true";
    document.querySelectorAll(".menu-surface-dialog").forEach((other) => other.setAttribute("aria-hidden", "true"));
    if (opens) {
      panes.forEach((pane) => pane.reset());
      check();
      dialog.setAttribute("aria-hidden", "false");
    }
  });
  function check() {
    apply.disabled = !(panes.some((pane) => pane.changed()) && panes.every((pane) => pane.valid()));
  }
  apply.addEventListener("click", () => {
    panes.forEach((pane) => pane.commit());
    state.start = 0;
    close();
    load();
  });
  return { node: el("div", { class: "menu yf-hash2" }, button, dialog), check, close };
}

// UI 1: a button and a dialog per filter.
function firstMenus() {
  const region = el("button", { type: "button", "aria-haspopup": "dialog", "data-ylk": "elm:expand;elmt:menu;itc:1;slk:Region;sec:screener" });
  const cap = el("button", { type: "button", "aria-haspopup": "dialog", "data-ylk": "elm:expand;elmt:menu;itc:1;slk:Market%20Cap;sec:screener" });
  // Three controls per filter, all with the filter's name as their tracking word: remove, menu, Apply.
  const filters = [
    ["Region", region, regionPane, () => (state.regions = new Set())],
    ["Market%20Cap", cap, capPane, () => (state.cap = { label: "Any", low: null, high: null })],
  ];
  const menus = filters.map(([word, button, make, clear]) => {
    let made = null;
    const pane = make(() => made.check());
    made = menu(button, [pane], pane.node, { "aria-label": "Apply", "data-ylk": `elm:intent-edit;slk:${word};sec:screener` });
    const remove = el("button", { type: "button", "aria-label": "Remove", "data-ylk": `elm:intent-delete;slk:${word};sec:screener`,
      onclick: () => { clear(); state.start = 0; load(); } }, "×");
    made.node.prepend(remove);
    return made.node;
  });
  return { nodes: menus, show: () => { region.textContent = SETUP.chips ? regionText() : "Region"; cap.textContent = SETUP.chips ? capText() : "Market Cap"; } };
}

// UI 2: one dialog for all filters, by category and metric.
function secondMenus() {
  const regionChip = el("span", { class: "chip", "data-testid": "active-filter-region" });
  const capChip = el("span", { class: "chip", "data-testid": "active-filter-intradaymarketcap" });
  const panes = [regionPane(() => made.check()), capPane(() => made.check())];
  const metrics = el("div", {});
  const pane = el("div", {});
  const metric = (i, name, label) =>
    el("button", { type: "button", "data-testid": "filter-metric-" + name, onclick: () => pane.replaceChildren(panes[i].node) }, label);
  const categories = [
    ["profile", "Profile", []],
    ["market_data", "Market Data", [metric(0, "region", "Region"), metric(1, "intradaymarketcap", "Market Cap")]],
  ].map(([name, label, content]) =>
    el("button", { type: "button", "data-testid": "filter-category-" + name, onclick: () => { metrics.replaceChildren(...content); pane.replaceChildren(); } }, label),
  );
  const add = el("button", { type: "button", "data-testid": "add-filters-button", "aria-haspopup": "dialog" }, "Add filters");
  add.addEventListener("click", () => { metrics.replaceChildren(); pane.replaceChildren(); });
  const cancel = el("button", { type: "button", "data-testid": "filter-cancel", onclick: () => made.close() }, "Cancel");
  const made = menu(add, panes, el("div", {}, ...categories, metrics, pane, cancel), { "data-testid": "filter-apply" });
  return {
    nodes: SETUP.chips ? [made.node, regionChip, capChip] : [made.node],
    show: () => { regionChip.textContent = regionText(); capChip.textContent = capText(); capChip.hidden = state.cap.label === "Any"; },
  };
}

// Table

function cell(name, row) {
  const value = row[name];
  const percent = name.includes("percent");
  const text = value === null ? "--" : name === "intradaymarketcap" || name.includes("vol") ? short(value) : typeof value === "number" ? value.toFixed(2) + (percent ? "%" : "") : value;
  let content = text;
  if (name === "ticker") {
    // The first letter stands for a company's logo.
    const logo = el("span", { class: "logo yf-hash4", "aria-hidden": "true" }, (row["companyshortname.raw"] || "?")[0]);
    content = value ? el("a", { ...(SETUP.test_ids ? { "data-testid": "table-cell-ticker" } : {}), href: "/quote/" + encodeURIComponent(value) + "/", title: row.link_title ?? row["companyshortname.raw"], class: "yf-hash4" },
      logo, el("span", { class: (SETUP.test_ids ? "symbol " : "") + "yf-hash4" }, value)) : logo;
  } else if (name === "companyshortname.raw") {
    content = el("div", { title: value, class: "yf-hash4" }, value);
  } else if (STREAMED.has(name)) {
    content = el("fin-streamer", { "data-symbol": row.ticker, "data-field": name, "data-value": value, class: "yf-hash4" }, el("span", {}, text));
  } else if (name === "fiftytwowkpercentchange") {
    content = el("span", { "data-testid": "change" }, text);
  }
  return el("td", { ...(SETUP.test_ids ? { "data-testid-cell": name } : {}), class: "yf-hash4" }, content);
}

function table(data) {
  const headings = COLUMNS.map(([name, label, ascendsFirst]) => {
    const sorted = name === state.sortField ? (state.sortAsc ? "ascending" : "descending") : "none";
    return el("th", { "data-testid-header": name, "aria-sort": sorted, class: "yf-hash4" },
      el("button", { type: "button", "data-ylk": "elm:sort;slk:" + label.replace(" ", "%20") + ";sec:screener", onclick: () => {
        state.sortAsc = state.sortField === name ? !state.sortAsc : ascendsFirst;
        state.sortField = name;
        state.start = 0;
        load();
      } }, label));
  });
  const rows = data ? data.rows.map((row) => el("tr", { ...(SETUP.test_ids ? { "data-testid": "data-table-v2-row" } : {}), class: "yf-hash4" }, ...COLUMNS.map(([name]) => cell(name, row)))) : [];
  return el("table", { class: "yf-hash3" }, el("thead", {}, el("tr", {}, ...headings)), el("tbody", {}, ...rows));
}

function pagination(data) {
  const shown = data ? data.rows.length : 0;
  const german = SETUP.total_words === "de";
  const numbers = (value) => value.toLocaleString(german ? "de-DE" : "en-US");
  const span = data && (shown ? numbers(data.start + 1) + "-" + numbers(data.start + shown) : "0-0");
  const known = data && !data.failed && (data.total || SETUP.empty === "total");
  const waiting = SETUP.first_text === "zero" && !data ? "0 results" : "";
  const total = known ? `${span} ${german ? "von" : "of"} ${numbers(data.total)} ${german ? "Ergebnissen" : "results"}` : waiting;
  const list = el("div", { role: "listbox", hidden: true }, ...[25, 50, 100].map((count) =>
    el("div", { role: "option", "data-value": count, "aria-selected": count === state.count, onclick: () => { state.count = count; state.start = 0; load(); } }, String(count))));
  const turn = (name, label, disabled, step) => el("button", { type: "button", "data-testid": name + "-page-button", "aria-label": label,
    "data-ylk": "elm:btn;slk:" + name + ";sec:screener", disabled, onclick: () => { state.start = Math.max(state.start + step, 0); load(); } }, name === "next" ? "›" : "‹");
  return el("div", { class: "paginationContainer yf-hash3" },
    el("div", { class: "select-dropdown yf-hash3" }, el("button", { type: "button", "aria-haspopup": "listbox", onclick: () => (list.hidden = !list.hidden) }, String(state.count)), list),
    el("div", { class: "total" }, total),
    turn("prev", "Goto previous page", !data || state.start === 0, -state.count),
    turn("next", "Goto next page", !data || data.start + shown >= data.total, state.count));
}

function notice(data) {
  if (!data) return SETUP.first_text === "zero" ? "" : el("div", { "data-testid": "screener-loading" }, "Loading…");
  if (data.failed) return el("div", { "data-testid": "screener-error" }, "Oops, something went wrong");
  return data.total === 0 ? el("div", { "data-testid": "screener-empty" }, "No matching results") : "";
}

function render(data) {
  container.setAttribute("aria-busy", String(!data && SETUP.first_text !== "zero"));
  container.replaceChildren(table(data), notice(data), pagination(data));
}

// Rows: by the page's own query, or as pieces of HTML.

const QUOTED = { ticker: "symbol", intradayprice: "regularMarketPrice", intradaypricechange: "regularMarketChange", percentchange: "regularMarketChangePercent",
  dayvolume: "regularMarketVolume", avgdailyvol3m: "averageDailyVolume3Month", intradaymarketcap: "marketCap", "peratio.lasttwelvemonths": "trailingPE",
  fiftytwowkpercentchange: "fiftyTwoWeekChangePercent" };
const plain = (value) => (value && typeof value === "object" ? value.raw : value ?? null);

function rowsOfAnswer(answer, start) {
  const result = answer.finance.result[0];
  const rows = (result.quotes ?? result.records).map((quote) => ({
    ...Object.fromEntries(Object.entries(QUOTED).map(([name, field]) => [name, plain(quote[field])])),
    ticker: quote.symbol ?? quote.ticker ?? "",
    "companyshortname.raw": quote.longName ?? quote.shortName ?? quote.companyName ?? "",
    // The query's regions are in the page's hand, the answer's region is that of the one who asks.
    region: state.regions.size === 1 ? LABELS[[...state.regions][0]] : "",
  }));
  return { start, total: result.total, rows };
}

function query() {
  const operands = [];
  if (state.regions.size) operands.push({ operator: "or", operands: [...state.regions].map((code) => ({ operator: "EQ", operands: ["region", code] })) });
  const { low, high } = state.cap;
  if (low !== null && high !== null) operands.push({ operator: "BTWN", operands: ["intradaymarketcap", low, high] });
  else if (low !== null) operands.push({ operator: "GTE", operands: ["intradaymarketcap", low] });
  else if (high !== null) operands.push({ operator: "LTE", operands: ["intradaymarketcap", high] });
  return { offset: state.start, size: state.count, sortField: state.sortField, sortType: state.sortAsc ? "ASC" : "DESC", quoteType: "EQUITY", topOperator: "AND",
    query: { operator: "AND", operands }, includeFields: COLUMNS.map(([name]) => name) };
}

async function askForData() {
  const first = document.querySelector('script[type="application/json"]');
  if (first) {
    first.removeAttribute("type"); // read once: later views are requests
    return rowsOfAnswer(JSON.parse(JSON.parse(first.textContent).body), state.start);
  }
  const { start } = state;
  const ask = () => fetch(SETUP.query, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(query()) });
  let answer = await ask();
  if (answer.status === 401) {
    const crumb = await (await fetch("/v1/test/getcrumb")).text();
    SETUP.query = SETUP.query.replace(/crumb=[^&]*/, "crumb=" + encodeURIComponent(crumb));
    answer = await ask();
  }
  return answer.ok ? rowsOfAnswer(await answer.json(), start) : null;
}

async function askForHtml() {
  const wanted = { regions: [...state.regions], low: state.cap.low, high: state.cap.high, start: state.start, count: state.count, sortField: state.sortField, sortAsc: state.sortAsc };
  const answer = await fetch("/research-hub/screener/rows", { method: "POST", body: JSON.stringify(wanted) });
  if (!answer.ok) return null;
  const piece = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector('table');
  const words = new Set(["ticker", "link_title", "companyshortname.raw", "region"]);
  const rows = [...piece.querySelectorAll('tr')].map((row) => ({ ...Object.fromEntries(COLUMNS.map(([name]) => [name, null])),
    ...Object.fromEntries([...row.querySelectorAll('td')].map(({ dataset }) => [dataset.field, words.has(dataset.field) ? dataset.value : Number(dataset.value)])) }));
  return { start: Number(piece.dataset.start), total: Number(piece.dataset.total), rows };
}

let latest = 0;
let shownData = null;
async function load() {
  const mine = ++latest;
  await wait(20); // the old rows still stand for a moment, as in any page that renders after its click handler
  if (mine !== latest) return;
  render(null);
  let data = { failed: true, rows: [], start: 0, total: 0 };
  try {
    data = (await (SETUP.data === "html" ? askForHtml() : askForData())) ?? data;
  } catch (error) {
    console.warn("rows", error);
  }
  // As a page does that cannot have new rows: the earlier ones stay.
  if (data.failed && shownData) data = shownData;
  shownData = data;
  while (SETUP.fault === "page_never_settles" && mine === latest) {
    render(null);
    await wait(50);
  }
  for (const pause of [0, 40, 90]) {
    await wait(pause);
    if (mine !== latest) return;
    menus.show();
    render(data);
  }
}

const menus = SETUP.menu === 1 ? firstMenus() : SETUP.menu === 2 ? secondMenus() : { nodes: [], show: () => {} };
const container = el("div", { "data-testid": "screener-table", class: "yf-hash3", "aria-busy": "true" });
menus.show();
document.getElementById("nimbus-app").append(
  el("header", {}, el("h1", {}, "Stock Screener"), el("p", { class: "notice" }, "Local market: every company on this page is made up.")),
  el("main", {}, el("div", { class: "filters yf-hash2" }, ...menus.nodes), container));
if (SETUP.overlay) {
  const close = el("button", { type: "button", "aria-label": "Close", onclick: () => overlay.remove() }, "✕");
  const overlay = el("div", { class: "overlay", role: "dialog", "aria-modal": "true" }, el("p", {}, "Try our new made-up product!"), close);
  document.body.append(overlay);
  document.addEventListener("click", (event) => {
    if (overlay.isConnected && event.target !== close) { event.stopImmediatePropagation(); event.preventDefault(); }
  }, true);
}
load();
if (SETUP.fault === "endless_script") for (;;);
