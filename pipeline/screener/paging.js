// Where the list stands, how it goes on, and whether its rows are all made. The first part of the script that page.js ends.
const number = (text) => Number(text.replace(/[^\d]/g, ""));

const FIGURE = "(\\d{1,3}(?: \\d{3})+(?!\\d)|\\d[\\d.,'’\\u00a0\\u202f]*)";
// "1.2K" says how many there are about.
const EXACTLY = "(?![\\d.,]*\\s?[kKmM]\\b)";
const SPAN = `${FIGURE}\\s*(?:[-–—~～]|to|bis|à|al?|até|до)\\s*${FIGURE}`;
// The words between are "of", "von", "sur", "de", "/", "of about" …
const SPAN_OF = new RegExp(`${SPAN}\\s*(?:[^\\d\\s]{1,12}\\s*){1,3}${FIGURE}${EXACTLY}`);
const OF_SPAN = new RegExp(`${FIGURE}\\s*(?:[^\\d\\s]{1,14}\\s*){1,3}${SPAN}`);
const TOTAL_ALONE = new RegExp(
  `^\\D{0,20}${FIGURE}${EXACTLY}\\s*(?:\\p{L}+\\s+)?(?:results?|matches|hits|stocks|companies|equities|entries|resultados|resultat|ergebnis|treffer|aktien|résultat|risultat|acciones|件|条|개)`,
  "iu",
);
// "25 of 106", for 25 rows.
const PART_OF = new RegExp(`^(\\D{0,20}?)${FIGURE}\\s*(?:of|out of|von|sur|de|di|van|av|из)\\s*${FIGURE}${EXACTLY}`, "i");
const ABOUT_PAGES = /page|seite|página|pagina|strona|стр/i;
// "200+" and "over 200" are no total: the list goes on behind them.
const AT_LEAST = new RegExp(
  `(?:\\b(?:over|more than|at least|mehr als|über|mindestens|plus de|au moins|más de|mais de|oltre|più di|meer dan)\\s*|>\\s*)${FIGURE}|${FIGURE}\\s*(?:\\+|(?:plus|or more|oder mehr|以上)(?!\\p{L}))`,
  "iu",
);
// Numbers of the first and last row, and the total; only the total if the page does not number its rows.
function rangeIn(text, rows) {
  if (AT_LEAST.test(text)) return null;
  const [, first, last, total] = text.match(SPAN_OF) ?? [];
  if (first && number(first) <= number(last)) return { first: number(first), last: number(last), total: number(total) };
  const [, all, from, to] = text.match(OF_SPAN) ?? [];
  if (all && number(from) <= number(to) && number(to) <= number(all)) return { first: number(from), last: number(to), total: number(all) };
  if (/^(?:.*\b\D{1,12}\s+)?0\s+\p{L}+/u.test(text) && text.length < 60) return { first: 0, last: 0, total: 0 };
  const alone = text.length < 60 && text.match(TOTAL_ALONE);
  if (alone) return { first: null, last: null, total: number(alone[1]) };
  const [, words, shown, whole] = (text.length < 60 && text.match(PART_OF)) || [];
  const isPart = shown && rows && number(shown) === rows && number(whole) >= rows && !ABOUT_PAGES.test(words);
  return isPart ? { first: null, last: null, total: number(whole) } : null;
}

// A text in which numbers of two elements side by side stay two: a total may stand before the number of the first page.
function saidBy(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let said = "";
  while (walker.nextNode()) {
    const text = walker.currentNode.data;
    if (text.trim()) said += (/\d\s*$/.test(said) && /^\s*\d/.test(text) ? " ¦ " : "") + text;
    else said += text;
  }
  return said.replace(/\s+/g, " ").trim();
}

function range(rows) {
  for (const selector of selectors.total) {
    for (const element of matches(selector, document)) {
      const found = rangeIn(saidBy(element), rows);
      if (found) return found;
    }
  }
  // It may stand anywhere: then it has to agree with the rows. There are fewer if only those in sight are made.
  let other = null;
  for (const element of document.querySelectorAll("p, span, div, small, strong, output, caption, li, h2, h3, [role=status]")) {
    if (element.childElementCount > 6 || element.textContent.length > 80 || element.closest("tbody, [role=row], button") || !isVisible(element)) continue;
    const found = rangeIn(saidBy(element), rows);
    const shown = found?.first ? found.last - found.first + 1 : 0;
    if (found && (shown ? shown === rows : found.total >= Math.max(rows, 1))) return found;
    if (rows && shown > rows && found.total >= found.last && ((found.first - 1) % shown === 0 || found.last === found.total)) other ??= found;
  }
  return other;
}

// The control for the next page, by what it says of itself; one that cannot be pressed is there too.
const NEXT =
  /^\W*((go ?to )?(the )?next( page)?|weiter|nächste( seite)?|(page )?suivante?|(página )?siguiente|próxima?|(pagina )?successiva|avanti|volgende|nästa|次へ|次のページ|下一页|下一頁|다음)\W*$|^[›»>→❯▶]$/iu;
// The control that puts further rows below those that are there.
const MORE =
  /^\W*((load|show|see|view|get) (\d+ )?more( (results|stocks|rows|companies|equities))?|more (results|stocks|rows)|(mehr|weitere)( (ergebnisse|aktien|treffer))? (laden|anzeigen)|(afficher|voir|charger) plus|(ver|mostrar|cargar) más|(ver|carregar) mais|(mostra|carica) (altri|di più)|もっと見る|さらに表示|加载更多|더 보기)\W*(\(?\d[\d.,]*\)?)?\W*$/iu;
const PRESSED = "a, button, [role=button], [role=link], input[type=button], [aria-disabled], [class*=disabled]";
const PAGER = "nav, tfoot, footer, [class*=pag i], [role=navigation]";
const words = (element) => [textOf(element), element.getAttribute("aria-label") ?? "", element.title ?? "", element.value ?? ""];
function nextControl() {
  const known = every("next_page")[0];
  if (known) return known;
  const outside = [...document.querySelectorAll(PRESSED)].filter((element) => !element.closest("tbody, [role=row]") && isVisible(element));
  const found = outside.filter((element) => words(element).some((word) => NEXT.test(word)));
  return (
    found.find((element) => element.closest(PAGER)) ??
    found[0] ??
    outside.find((element) => /(^|\s)next($|\s)/.test(element.rel ?? "") || (element.closest(PAGER) && /(^|[-_\s])next($|[-_\s])/i.test(element.className))) ??
    numberedNext() ??
    moreControl(outside)
  );
}
function moreControl(outside) {
  const rows = every("row", tableOfStocks() ?? document);
  const isBelow = (element) => rows.length && rows.at(-1).compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING;
  return outside.find((element) => words(element).some((word) => MORE.test(word)) && !element.closest("header, aside") && isBelow(element)) ?? null;
}

// Pages that have numbers alone: those after the current one. The numbers of rows per page stand beside each other too, but don't count up.
const CURRENT = "[aria-current]:not([aria-current=false]), [aria-selected=true], [class~=active], [class*=current], [class*=selected], [class*=-active]";
const isNumber = (element) => !element.childElementCount && /^\d{1,4}$/.test(textOf(element));
function pageNumbers() {
  const groups = new Map();
  for (const pager of document.querySelectorAll(PAGER)) {
    if (pager.closest("tbody")) continue;
    const numbers = [...pager.querySelectorAll("*")].filter((element) => isNumber(element) && isVisible(element));
    if (numbers.some((element, index) => index && number(textOf(element)) === number(textOf(numbers[index - 1])) + 1)) groups.set(pager, numbers);
  }
  // The innermost that has them.
  const [pager, numbers] = [...groups].find(([one]) => ![...groups.keys()].some((other) => other !== one && one.contains(other))) ?? [null, []];
  const marked = numbers.filter((element) => element.matches(CURRENT) || (element.parentElement !== pager && element.parentElement.matches(CURRENT)));
  // Without a mark it is the one that cannot be pressed.
  const dead = numbers.filter((element) => !element.closest(PRESSED) || element.closest(":disabled, [aria-disabled=true]"));
  const current = marked.length ? marked[0] : dead.length === 1 ? dead[0] : null;
  const later = current ? numbers.filter((element) => number(textOf(element)) > number(textOf(current))) : [];
  return { current, later };
}
// The next number; on the last page its own, which leads nowhere.
function numberedNext() {
  const { current, later } = pageNumbers();
  if (!later.length) return current;
  const found = later.find((element) => number(textOf(element)) === number(textOf(current)) + 1);
  return found ? (found.closest(PRESSED) ?? found) : null;
}
const hasLaterPages = () => pageNumbers().later.length > 0;
const isOff = (element) => element !== null && [...element.classList].some((name) => /^(\w+-{1,2})?disabled$/.test(name));
const isDisabled = (element) =>
  element.disabled || element.getAttribute("aria-disabled") === "true" || isOff(element) || isOff(element.closest("li")) || (isNumber(element) && element === pageNumbers().current);

// The places of rows that are only made once they are scrolled to: they are kept empty.
const filled = (element) => textOf(element) !== "" || element.querySelector("img, iframe, svg") !== null;
function emptyPlaces() {
  const made = every("row", tableOfStocks() ?? document).filter(filled);
  const body = made[0]?.parentElement;
  if (!body) return { box: null, places: [], height: 0 };
  let box = body;
  while (box.parentElement && !/auto|scroll|overlay/.test(getComputedStyle(box).overflowY)) box = box.parentElement;
  const heights = made.map((row) => row.getBoundingClientRect().height).sort((a, b) => a - b);
  const { top, bottom } = body.getBoundingClientRect();
  const places = [...body.children].filter(filled).map((element) => element.getBoundingClientRect()).sort((a, b) => a.top - b.top);
  const gaps = [...places.map((place, index) => [places[index - 1]?.bottom ?? top, place.top]), [places.at(-1)?.bottom ?? top, bottom]];
  return { box, places: gaps, height: heights[heights.length >> 1] };
}
function hasUnmadeRows() {
  const { places, height } = emptyPlaces();
  return places.some(([top, bottom]) => bottom - top > 3 * height);
}
// Whether rows that should be in sight are not made yet, or something below them says that further ones are on their way.
function isMaking() {
  const { box, places, height } = emptyPlaces();
  if (!box) return false;
  const view = box.parentElement ? box.getBoundingClientRect() : { top: 0, bottom: innerHeight };
  const [start, end] = [Math.max(view.top, 0), Math.min(view.bottom, innerHeight)];
  if (places.some(([top, bottom]) => Math.min(bottom, end) - Math.max(top, start) > 0.5 * height)) return true;
  const below = (tableOfStocks() ?? box).getBoundingClientRect().bottom;
  const isNear = ({ top, height: size }) => size > 0 && top > below - 1 && top < below + 300;
  return selectors.busy.some((selector) => [...document.querySelectorAll(selector)].some((element) => isVisible(element) && isNear(element.getBoundingClientRect())));
}
// Scrolls on by most of what is in sight, or back to the first row (argument "start"); false at the end.
function scrollRows(where) {
  const boxes = [];
  for (let element = every("row", tableOfStocks() ?? document).at(-1); element; element = element.parentElement) {
    if (element.scrollHeight > element.clientHeight + 2 && /auto|scroll|overlay/.test(getComputedStyle(element).overflowY)) boxes.push(element);
  }
  let hasMoved = false;
  for (const box of new Set([...boxes, document.scrollingElement])) {
    const before = box.scrollTop;
    box.scrollTo({ top: where === "start" ? 0 : before + 0.8 * box.clientHeight, behavior: "instant" });
    hasMoved ||= box.scrollTop > before + 1;
    if (hasMoved) return true;
    // At the end: some pages wait for a scroll that a large window leaves no room for.
    if (where !== "start") {
      box.scrollTo({ top: before - 50, behavior: "instant" });
      box.scrollTo({ top: before, behavior: "instant" });
      (box === document.scrollingElement ? document : box).dispatchEvent(new Event("scroll", { bubbles: true }));
    }
  }
  return false;
}
