// Everything that is read from or done on the screener page happens in one call of this script, because the table may be
// rendered again between two calls. With paging.js before it, it is the body of a function: (command, selectors by name, command's argument).
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
// What people press, and what it says of itself.
const BUTTONS = "button, [role=button], [role=combobox], input[type=submit], input[type=button], a[class*=btn], a[class*=button]";
const buttons = (root = document) => [...root.querySelectorAll(BUTTONS)].filter((element) => isVisible(element) && !element.disabled);
const says = (element) => [element.getAttribute("aria-label"), textOf(element), element.value, element.title].filter(Boolean).join(" | ").slice(0, 200);
const tracked = (element) => decodeURIComponent((element.getAttribute("data-ylk") ?? "").replace(/%(?![0-9a-f]{2})/gi, "%25"));
const SUBJECTS = { region: /\b(region|country)\b/i, market_cap: /\bmarket\s*cap/i };
// Dialogs that hold a filter; closed ones stay in the document.
const FILTER_PARTS = ["region_option", "custom_band", "band_input", "market_data_category", "region_metric", "market_cap_metric", "apply_button"];
const dialogs = () => selectors.dialog.flatMap((selector) => matches(selector, document)).filter((element) => element.getAttribute("aria-hidden") !== "true" && isVisible(element));
const holdsFilter = (element) => FILTER_PARTS.some((name) => every(name, element).length > 0) || regionOptions(element).length > 0;
const openDialog = () => dialogs().find(holdsFilter) ?? null;
// An open menu covers the page: what is looked for is in there.
const scope = () => openDialog() ?? document;

// Regions are ticked by an input in a label, or by an element with the role of an option. Their labels distinguish them from other
// boxes and lists.
const ROLES = "input[type=checkbox], input[type=radio], [role=option], [role=checkbox], [role=menuitemcheckbox], [role=menuitemradio], option";
// Some menus show the number of stocks after the region's name.
const COUNT = /\s*\(?\d[\d.,]*\)?$/;
const SOME_REGIONS = ["France", "Germany", "Japan", "Canada", "Italy"];
const labelOf = (option) => {
  if (option.localName === "option") return textOf(option).replace(COUNT, "");
  const label = option.closest("label") ?? (option.id ? document.querySelector(`label[for="${CSS.escape(option.id)}"]`) : null);
  return label?.getAttribute("title") || textOf(label ?? option).replace(COUNT, "");
};
const isTicked = (option) => option.selected ?? option.checked ?? [option.getAttribute("aria-checked"), option.getAttribute("aria-selected")].includes("true");
function regionOptions(root) {
  const known = every("region_option", root);
  if (known.length) return known;
  const found = [...root.querySelectorAll(ROLES)];
  const labels = found.length > SOME_REGIONS.length ? found.map(labelOf) : [];
  return SOME_REGIONS.every((region) => labels.includes(region)) ? found : [];
}

const cell = (row, field) => row.querySelector(`[data-testid-cell="${field}"]`);
const valueOf = (row, field) => {
  const found = cell(row, field);
  if (!found) return null;
  return found.querySelector("[data-value]")?.getAttribute("data-value") || textOf(found) || null;
};
// Rows that somebody has paid for: they lead elsewhere, or say what they are.
const PAID = /^(Ad|ads|advert|advertisement|sponsored|promoted|anzeige|publicité|publicidad|patrocinado|広告)$/i;
function isPaid(row) {
  if (/(^|[-_\s])(ad|ads|advert\w*|promo(ted|tion)?|sponsor(ed)?)($|[-_\s])/i.test(`${row.className} ${row.dataset.testid ?? ""}`)) return true;
  const link = every("ticker_link", row)[0];
  const site = location.hostname.split(".").slice(-2).join(".");
  if (link?.hostname && !link.hostname.endsWith(site) && !/(^|\.)yahoo\.com$/.test(link.hostname)) return true;
  // AD and ADS are symbols.
  return [...row.querySelectorAll("*")].some((part) => !part.childElementCount && PAID.test(textOf(part)) && !/^ADS?$/.test(textOf(part)));
}

// The cell of a row under a header of this word.
function under(row, word) {
  const heads = [...(row.closest("table, [role=table], [role=grid]")?.querySelectorAll("thead th, [role=columnheader]") ?? [])];
  const index = heads.findIndex((head) => word.test(textOf(head)));
  return index < 0 ? null : textOf([...row.querySelectorAll("td, th, [role=cell], [role=gridcell]")][index]) || null;
}

function rowsOf(table) {
  return every("row", table ?? document)
    .filter((row) => (cell(row, "ticker") || every("ticker_link", row).length) && !isPaid(row))
    .map((row) => {
      const link = every("ticker_link", row)[0];
      const named = every("name", row)[0];
      return {
        link: link?.getAttribute("href") ?? "",
        symbols: [textOf(every("symbol", row)[0]), textOf(link)],
        names: [named?.getAttribute("title"), textOf(named), link?.getAttribute("title"), link?.getAttribute("aria-label")].filter(Boolean),
        market_cap: valueOf(row, "intradaymarketcap"),
        region: valueOf(row, "region") ?? under(row, /^(region|country)$/i),
      };
    });
}

// The control that opens the menu of a filter. Its remove button, Apply and a column's sort button carry the same tracking word.
function menuControl(subject) {
  const word = SUBJECTS[subject];
  const rated = buttons()
    .filter((element) => !element.closest("table, [role=table], [role=grid], [role=columnheader], th") && !dialogs().some((dialog) => dialog.contains(element)))
    .filter((element) => word.test(says(element)) || word.test(tracked(element)))
    .filter((element) => !/intent-(delete|edit|remove|apply)|elm:(delete|remove|sort)/i.test(tracked(element)))
    .filter((element) => !/^\s*(remove|delete|clear|apply|sort|close|×|✕|x)\b/i.test(says(element)) && !/sort/i.test(element.getAttribute("aria-label") ?? ""))
    .map((element) => [
      (element.hasAttribute("aria-haspopup") || element.hasAttribute("aria-expanded") ? 8 : 0) +
        (/elm:(expand|filter|menu)|elmt:menu/i.test(tracked(element)) ? 4 : 0) +
        (word.test(tracked(element).match(/slk:([^;]*)/)?.[1] ?? "") ? 2 : 0) +
        (textOf(element).search(word) === 0 ? 1 : 0),
      element,
    ])
    .filter(([rate]) => rate > 0)
    // The site's own menus have the same words.
    .map(([rate, element]) => [rate - (element.closest("nav, header, footer, aside, [role=navigation], [role=menubar]") ? 16 : 0), element]);
  return rated.sort((a, b) => b[0] - a[0])[0]?.[1] ?? null;
}

// Consent, in the site's languages and those of its visitors. Refusing comes first: the site shows its page after either.
const REFUSE = new RegExp(
  "\\b(reject|decline|refuse|deny|only necessary)\\b|without accepting|ablehnen|verweiger|nur notwendige|refuser|sans accepter|rechaz|sin aceptar|rifiut|senza accettare" +
    "|recus|rejeit|weiger|afwijzen|odrzu|odmítn|odmietn|elutasít|respinge|odbij|zavrni|keeldu|noraid|atmest|avvisa|neka alla|avslå|avvis|afvis|hylkää" +
    "|rebutja|απόρριψη|reddet|отклон|відхил|отхвърл|رفض|דחה|דחיית|अस्वीकार|từ chối|tolak|ปฏิเสธ|拒否|拒绝|拒絕|거부",
  "i",
);
const AGREE = new RegExp(
  "\\b(accept|agree|consent to all|allow all|got it)\\b|akzeptier|zustimmen|einverstanden|accepter|j'accepte|aceptar|accetta|aceitar|akkoord|accepteren" +
    "|akceptuj|zaakceptuj|přijmout|souhlas|prijať|elfogad|accept[ăa]|prihvati|sprejmi|nõustu|piekrīt|sutik|godkänn|acceptera|godta|acceptér|hyväksy" +
    "|accepta|αποδοχή|kabul|принять|согла|прийняти|приемам|قبول|موافق|אישור|स्वीकार|đồng ý|chấp nhận|setuju|terima|ยอมรับ|同意|接受|동의",
  "i",
);
const TO_END = /\b(scroll|go) (down|to (the )?(end|bottom))|zum ende|ans ende|nach unten|aller (à|en) (la )?(fin|bas)|ir (al|para o) (final|fim)|vai alla fine|naar (het )?einde/i;
const ABOUT_CONSENT = /cookie|privac|consent|datenschutz|zustimmung|confidentialit|privacidad|prywatno|soukrom|конфиденц|同意|プライバシー|隐私|개인정보/i;
const onConsentHost = () => /^(consent|guce)\./.test(location.hostname) || /(^|\/)(consent|collectConsent)(\/|$)/i.test(location.pathname);

// The document, and the parts that its selectors do not reach: open shadow trees, and frames of the same site.
function trees(root = document) {
  const inner = [...root.querySelectorAll("*")].flatMap((element) => {
    try {
      return [element.shadowRoot, element.localName === "iframe" ? element.contentDocument : null].filter(Boolean);
    } catch {
      return [];
    }
  });
  return [root, ...inner.flatMap(trees)];
}
const consentRoots = () => {
  const known = every("consent_page").filter(isVisible);
  return known.length ? known : trees();
};
const consentButtons = () =>
  consentRoots().flatMap((root) => [...new Set([...buttons(root), ...[...root.querySelectorAll("a[href], a[onclick]")].filter(isVisible)])]);
const isSubmit = (element) => element.form && (element.type === "submit" || element.type === "image");

function consentControl() {
  const found = consentButtons();
  return (
    every("consent_reject").find(isVisible) ??
    found.find((element) => REFUSE.test(says(element))) ??
    found.find((element) => AGREE.test(says(element))) ??
    [...document.querySelectorAll("#scroll-down-btn")].find(isVisible) ??
    found.find((element) => TO_END.test(says(element)) || /scroll-?down/i.test(element.id + element.className)) ??
    // Words of an unknown language: the last button that sends the form.
    found.filter(isSubmit).pop() ??
    null
  );
}

function asksForConsent() {
  if (onConsentHost() || every("consent_page").some(isVisible)) return true;
  const found = consentButtons();
  const refuse = found.some((element) => REFUSE.test(says(element)));
  const agree = found.some((element) => AGREE.test(says(element)));
  return (refuse && agree) || ((refuse || agree) && (document.forms.length > 0 || ABOUT_CONSENT.test(document.body?.innerText ?? "")));
}

function kind(table, busy, rows, found) {
  // The browser's own page, for a site that cannot be reached.
  if (location.protocol === "chrome-error:") return "unreachable";
  if (table || rows.length ? onConsentHost() || every("consent_page").some(isVisible) : asksForConsent()) return "consent";
  if (busy || document.readyState === "loading") return "loading";
  if (rows.length && found?.total !== 0) return "rows";
  if (!table) return "unknown";
  return rows.length ? "loading" : "empty";
}

// A table's header may be there twice, so that it stays in sight: the table with the most rows.
function tableOfStocks() {
  const first = one("table");
  const alike = first ? selectors.table.map((selector) => matches(selector, document).filter(isVisible)).find((found) => found.includes(first)) : [];
  return alike.length < 2 ? first : alike.reduce((best, table) => (rowsOf(table).length > rowsOf(best).length ? table : best), first);
}

function state() {
  const table = tableOfStocks();
  // Without the container its rows may still be there: one(…) above says which is missing, the rows are read either way.
  const rows = rowsOf(table);
  const found = range(rows.length);
  const busy = table !== null && (selectors.busy.some((selector) => table.matches(selector)) || every("busy", table).some(isVisible));
  // What a page without rows holds is not looked through at each look.
  const next = rows.length ? nextControl() : null;
  const header = one("symbol_header");
  return {
    kind: kind(table, busy, rows, found),
    status: performance.getEntriesByType("navigation")[0]?.responseStatus ?? 0,
    ready: document.readyState,
    url: location.href,
    // Only if there is no table: for this text the browser has to lay out the page.
    words: table || rows.length ? "" : (document.body?.innerText ?? "").slice(0, 5000),
    // A page that asks for a password has other controls.
    has_controls: document.querySelector(`${BUTTONS}, input:not([type=hidden]), select, a[href*="/quote/"]`) !== null && !document.querySelector("input[type=password]"),
    range: found,
    rows,
    has_next: next !== null ? !isDisabled(next) : rows.length > 0 && hasLaterPages(),
    next_is_there: next !== null,
    menu: menuControl("region") ? 1 : one("add_filters_button") ? 2 : regionOptions(document).some((option) => isVisible(option.closest("select") ?? option)) ? 1 : 0,
    busy,
    is_making: argument === "with places" && isMaking(),
    // Also the chips of filters that are on.
    region_text: [menuControl("region"), ...every("region_chip")].filter(Boolean).map(textOf).join(" | "),
    market_cap_text: [menuControl("market_cap"), ...every("market_cap_chip")].filter(Boolean).map(textOf).join(" | "),
    sorted: header?.closest("[aria-sort]")?.getAttribute("aria-sort") ?? null,
    // A table without rows and total may just as well be one whose rows could not be fetched.
    missing: [
      ...(table ? [] : ["table"]),
      ...(!rows.length && (!table || found?.total > 0) ? ["row", "ticker_link"] : []),
      // Without a total, something else has to show where the list ends (paging.py).
      ...(!found && !table ? ["total"] : []),
    ],
  };
}

// Regions offered by the open menu, by label and code, with what is ticked.
function options() {
  return regionOptions(scope()).map((option) => ({
    label: labelOf(option),
    code: (option.getAttribute("data-testid")?.replace(/^filter-option-/, "") || option.value || option.id || "").toString().toLowerCase(),
    checked: isTicked(option),
    // Choosing another one is the only way to take it back.
    is_only_one: option.type === "radio" || option.closest("select")?.multiple === false,
  }));
}

function optionElement(wanted) {
  const index = options().findIndex((option) => option.label === wanted || option.code === wanted);
  const option = regionOptions(scope())[index];
  if (!option) return null;
  return isVisible(option) ? option : option.closest("label:not(:has(select))") ?? option;
}

// What lies over the page and holds no filter: a dialog, or a box that is fixed over the middle of the window.
function obstacle() {
  const centre = document.elementFromPoint(innerWidth / 2, innerHeight / 2);
  const boxes = [];
  for (let element = centre; element && element !== document.body && element !== document.documentElement; element = element.parentElement) {
    if (["fixed", "sticky"].includes(getComputedStyle(element).position)) boxes.unshift(element);
  }
  return [...dialogs(), ...boxes].find((element) => !holdsFilter(element) && !element.querySelector("table") && !one("table")?.contains(element)) ?? null;
}
const CLOSE = /^\W*(close|dismiss|no,? thanks|not now|maybe later|later|skip|got it|schließen|fermer|cerrar|chiudi|fechar|sluiten|閉じる|关闭|×|✕|✖|x)(\W|$)/i;
function closeControl() {
  const box = obstacle();
  if (!box) return null;
  return buttons(box).find((element) => CLOSE.test(element.getAttribute("aria-label") ?? "") || CLOSE.test(textOf(element)) || /\bclose\b/i.test(element.className)) ?? null;
}

function find(name) {
  if (name in SUBJECTS) return menuControl(name);
  const element = name === "next_page" ? nextControl() : (one(name, scope()) ?? one(name));
  // A header without a control of its own may be no more than a word.
  if (name === "symbol_header" && element?.localName === "th" && !element.ariaSort && getComputedStyle(element).cursor !== "pointer") return null;
  return element && !isDisabled(element) ? element : null;
}

const COMMANDS = {
  state,
  "has unmade rows": hasUnmadeRows,
  "scroll rows": () => scrollRows(argument),
  find: () => find(argument),
  there: () => argument.some((name) => (name === "region_option" ? regionOptions(scope()) : every(name, scope())).some((element) => isVisible(element) || isVisible(element.closest("label, select") ?? element))),
  "click find": () => {
    const element = find(argument);
    element?.click();
    return element !== null;
  },
  options,
  option: () => optionElement(argument),
  "click option": () => {
    const element = optionElement(argument);
    element?.click();
    return element !== null;
  },
  checked: () => every(argument, scope())[0]?.checked ?? null,
  inputs: () => every("band_input", scope()).filter(isVisible).map((input) => input.value),
  input: () => {
    const input = every("band_input", scope()).filter(isVisible)[argument] ?? null;
    input?.focus();
    input?.select();
    return input;
  },
  // A button in a frame can only be pressed from here; true says that it was.
  consent: () => {
    const found = consentControl();
    if (!found || found.ownerDocument === document) return found;
    found.click();
    return true;
  },
  "scroll to end": () => {
    for (const box of consentRoots().flatMap((root) => [...root.querySelectorAll("input[type=checkbox][required]")])) if (!box.checked) box.click();
    scrollTo(0, document.documentElement.scrollHeight);
    for (const element of document.querySelectorAll("div, section, main, form")) {
      if (element.scrollHeight > element.clientHeight + 20) element.scrollTop = element.scrollHeight;
    }
  },
  "menu is open": () => openDialog() !== null,
  obstacle: () => obstacle() !== null,
  "close control": closeControl,
  "remove obstacle": () => obstacle()?.remove(),
};
if (!(command in COMMANDS)) throw new Error(`no such command: ${command}`);
return [COMMANDS[command]()];
