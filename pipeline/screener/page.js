// Everything that is read from or done on the screener page happens in one call of this script, because the table may be
// rendered anew between two calls. It is the body of a function: (command, selectors by name, command's argument).
// A selector is CSS; `css::text=Word` further asks that the element's text starts with the word.
const [command, selectors, argument] = arguments;

const textOf = (element) => (element?.textContent ?? "").replace(/\s+/g, " ").trim();
const isVisible = (element) => (element.checkVisibility ? element.checkVisibility({ visibilityProperty: true }) : element.getClientRects().length > 0);
const matches = (selector, root) => {
  const [css, word] = selector.split("::text=");
  const found = [...root.querySelectorAll(css)];
  return word ? found.filter((element) => textOf(element).toLowerCase().startsWith(word.toLowerCase())) : found;
};
const every = (name, root = document) => {
  for (const selector of selectors[name]) {
    const found = matches(selector, root);
    if (found.length) return found;
  }
  return [];
};
const one = (name, root = document) => {
  for (const selector of selectors[name]) {
    const found = matches(selector, root).find(isVisible);
    if (found) return found;
  }
  return null;
};
// An open menu covers the page: what is looked for is in there.
const scope = () => one("dialog") ?? document;

const cell = (row, field) => row.querySelector(`td[data-testid-cell="${field}"]`);
const valueOf = (row, field) => {
  const found = cell(row, field);
  if (!found) return null;
  return found.querySelector("[data-value]")?.getAttribute("data-value") || textOf(found) || null;
};
const symbolOf = (row) => {
  const text = textOf(every("symbol", row)[0]);
  if (text) return text;
  const link = every("ticker_link", row)[0]?.getAttribute("href")?.match(/\/quote\/([^/?#]+)/);
  return link ? decodeURIComponent(link[1]) : null;
};
const nameOf = (row) => {
  const named = every("name", row)[0];
  return (named?.getAttribute("title") || textOf(named) || every("ticker_link", row)[0]?.getAttribute("title") || "").trim();
};
const number = (text) => Number(text.replace(/[^\d]/g, ""));

function range() {
  for (const selector of selectors.total) {
    for (const element of matches(selector, document)) {
      const text = textOf(element);
      const found = text.match(/([\d,]+)\s*[-–]\s*([\d,]+)\s+of\s+([\d,]+)/);
      if (found) return { first: number(found[1]), last: number(found[2]), total: number(found[3]) };
      const zero = text.match(/^(?:.*\bof\s+)?0\s+(?:results|matches|stocks)\b/i);
      if (zero) return { first: 0, last: 0, total: 0 };
    }
  }
  return null;
}

function requests() {
  performance.setResourceTimingBufferSize?.(5000);
  return performance.getEntriesByType("resource").filter((entry) => /fetch|xmlhttprequest/.test(entry.initiatorType) && /screener/.test(entry.name));
}

function kind(table, busy, rows, found, status, lastAnswer) {
  // The browser's own page, for a site that cannot be reached.
  if (location.protocol === "chrome-error:") return "down";
  // Only where there is no table: to have the text, the browser lays out the page.
  const says = (words) => !table && words.test(document.body ? document.body.innerText.slice(0, 5000) : "");
  if (location.hostname === "consent.yahoo.com" || every("consent_page").some(isVisible)) return "consent";
  if (status === 429 || says(/^\s*(Edge: )?Too Many Requests/i)) return "blocked";
  if (status >= 500 || says(/Will be right back/i)) return "down";
  if (busy || document.readyState === "loading") return "loading";
  if (rows.length && found?.total !== 0) return "rows";
  if (lastAnswer === 429) return "blocked";
  if (lastAnswer >= 500) return "down";
  if (!table) return "unknown";
  if (!rows.length && found?.total === 0) return "empty";
  return "loading";
}

function state() {
  const table = one("table");
  // Without the container its rows may still be there: one(…) above says which is missing, the rows are read either way.
  const rows = every("row", table ?? document).filter((row) => cell(row, "ticker") || every("ticker_link", row).length);
  const found = range();
  const busy = table !== null && (selectors.busy.some((selector) => table.matches(selector)) || every("busy", table).some(isVisible));
  const asked = requests();
  const status = performance.getEntriesByType("navigation")[0]?.responseStatus ?? 0;
  const lastAnswer = asked.at(-1)?.responseStatus ?? 0;
  const next = every("next_page")[0] ?? null;
  const header = one("symbol_header");
  return {
    kind: kind(table, busy, rows, found, status, lastAnswer),
    status: lastAnswer >= 500 ? lastAnswer : status,
    ready: document.readyState,
    url: location.href,
    range: found,
    rows: rows.map((row) => ({
      symbol: symbolOf(row),
      name: nameOf(row),
      market_cap: valueOf(row, "intradaymarketcap"),
      region: valueOf(row, "region"),
    })),
    has_next: next !== null && !next.disabled && next.getAttribute("aria-disabled") !== "true",
    next_is_there: next !== null,
    // A button that only starts with the right word may as well be the second menu's mark of a filter that is on.
    menu: matches(selectors.region_button[0], document).some(isVisible) ? 1 : one("add_filters_button") ? 2 : one("region_button") ? 1 : 0,
    busy,
    // Also the chips of filters that are on.
    region_text: every("region_text").map(textOf).join(" | "),
    market_cap_text: every("market_cap_text").map(textOf).join(" | "),
    sorted: header?.closest("[aria-sort]")?.getAttribute("aria-sort") ?? null,
    // A table without rows and total may just as well be one whose rows could not be fetched.
    missing: [
      ...(table ? [] : ["table"]),
      ...(!rows.length && (!table || found?.total > 0) ? ["row", "ticker_link"] : []),
      ...(!found && (!table || rows.length) ? ["total"] : []),
    ],
    requests: asked.length,
  };
}

// Regions offered by the open menu, by label and code, with what is ticked.
function options() {
  return every("region_option", scope()).map((input) => {
    const label = input.closest("label") ?? document.querySelector(`label[for="${CSS.escape(input.id)}"]`);
    return {
      label: label?.getAttribute("title") || textOf(label),
      code: input.getAttribute("data-testid")?.replace(/^filter-option-/, "") || input.id || input.value,
      checked: input.checked,
    };
  });
}

function optionElement(wanted) {
  const index = options().findIndex((option) => option.label === wanted || option.code === wanted);
  const input = every("region_option", scope())[index];
  if (!input) return null;
  return isVisible(input) ? input : input.closest("label") ?? input;
}

switch (command) {
  case "state":
    return state();
  case "find": {
    const element = one(argument, scope()) ?? one(argument);
    return element && !element.disabled ? element : null;
  }
  case "there":
    return argument.some((name) => every(name, scope()).some((element) => isVisible(element) || isVisible(element.closest("label") ?? element)));
  case "click find": {
    const element = one(argument, scope()) ?? one(argument);
    element?.click();
    return element !== null;
  }
  case "options":
    return options();
  case "option":
    return optionElement(argument);
  case "click option": {
    const element = optionElement(argument);
    element?.click();
    return element !== null;
  }
  case "checked":
    return every(argument, scope())[0]?.checked ?? null;
  case "inputs":
    return every("band_input", scope()).filter(isVisible).map((input) => input.value);
  case "input": {
    const input = every("band_input", scope()).filter(isVisible)[argument] ?? null;
    input?.focus();
    input?.select();
    return input;
  }
}
throw new Error(`no such command: ${command}`);
