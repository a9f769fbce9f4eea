// Numbers and times as a person reads them, and nodes that are touched only when what they show changes.
// Whatever comes from the daemon is set as text: a table may have any name.

const numbers = new Intl.NumberFormat("en");
const byId = (id) => document.getElementById(id);

function make(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) show(node, text);
  return node;
}

// Characters that reorder or hide others are written out, as in the commands.
const orders = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\u00ad\u200b\u2060\ufeff]/gu;
const harmless = (text) => text.replace(orders, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

function show(node, text) {
  const wanted = harmless(String(text));
  if (node.shown !== wanted) node.textContent = node.shown = wanted;
}

function mark(node, className) {
  if (node.marked !== className) node.className = node.marked = className;
}

function count(n) {
  return n === null || n === undefined ? "–" : numbers.format(n);
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

function share(part) {
  if (part === null || part === undefined) return "–";
  if (part === 0) return "0 %";
  return part < 0.001 ? "<0.1 %" : `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`;
}

function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 1) return "<1 s";
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

// The daemon's clock counts, not the browser's.
let skew = 0;
const now = () => Date.now() + skew;
const since = (time) => (now() - Date.parse(time)) / 1000;
// The planner's words are written with underscores. What follows in brackets, and errors, name things as they are.
const words = (text) => text.replace(/^[^(]*/, (plain) => plain.replaceAll("_", " "));
const reasonOf = (table) => (["stuck", "failing"].includes(table.health) ? table.reason : words(table.reason ?? ""));

const HEALTHS = ["stuck", "failing", "blocked", "due", "paused", "ok", "unknown"];

function healthMark(parent, health) {
  const word = make("span", `word is-${health}`);
  const dot = make("span", `dot bg-${health}`);
  dot.setAttribute("aria-hidden", "true");
  word.append(dot, make("span", "", health));
  parent.replaceChildren(word);
}

// A list that is drawn anew only where an entry is new: entries of the same key are changed in place.
function fill(list, entries, keyOf, create, change) {
  const known = list.known ?? new Map();
  const kept = new Map();
  let before = null;
  for (const entry of entries) {
    const key = keyOf(entry);
    const node = known.get(key) ?? create(entry);
    change(node, entry);
    kept.set(key, node);
    const next = before ? before.nextSibling : list.firstChild;
    if (next !== node) list.insertBefore(node, next);
    before = node;
  }
  for (const [key, node] of known) if (!kept.has(key)) node.remove();
  list.known = kept;
}
