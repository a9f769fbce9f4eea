// The tables: sorted, filtered, and one of them selected.

const text = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const rank = (table) => HEALTHS.indexOf(table.health);
const number = (of) => (a, b) => (of(a) ?? -1) - (of(b) ?? -1);

// `down` is how a first click sorts: what an operator looks for comes first.
const COLUMNS = [
  { id: "health", title: "is", down: false, compare: (a, b) => rank(a) - rank(b) },
  { id: "table", title: "table", down: false, compare: (a, b) => text(a.table, b.table) },
  { id: "rows", title: "rows", n: true, down: true, compare: number((t) => t.rows) },
  { id: "fragments", title: "fragments", n: true, down: true, compare: number((t) => t.fragments) },
  { id: "small", title: "small", n: true, down: true, compare: number((t) => t.small_fragments) },
  { id: "trend", title: "trend" },
  { id: "bytes", title: "size", n: true, down: true, compare: number((t) => t.bytes) },
  { id: "deleted", title: "deleted", n: true, down: true, compare: number((t) => t.deleted_fraction) },
  { id: "unindexed", title: "unindexed", n: true, down: true, compare: number((t) => t.unindexed_fraction) },
  { id: "versions", title: "versions", n: true, down: true, compare: number((t) => t.versions) },
  { id: "why", title: "because" },
];

const view = {
  by: "health", down: false, words: "", target: "", only: new Set(),
  shown: [], chosen: null, window: null, heads: new Map(), chips: new Map(),
};

function openTables() {
  const head = byId("tables").tHead.rows[0];
  for (const column of COLUMNS) {
    const th = make("th", `c-${column.id}${column.n ? " n" : ""}`);
    th.scope = "col";
    const button = make(column.compare ? "button" : "span", column.compare ? "" : "faint", column.title);
    if (column.compare) {
      button.type = "button";
      button.addEventListener("click", () => sortBy(column));
    }
    th.append(button);
    head.append(th);
    view.heads.set(column.id, th);
  }
  for (const health of HEALTHS) {
    const chip = make("button");
    chip.type = "button";
    chip.setAttribute("aria-pressed", "false");
    const dot = make("span", `dot bg-${health}`);
    chip.append(dot, make("span", "", health), make("span", "faint", ""));
    chip.addEventListener("click", () => {
      if (!view.only.delete(health)) view.only.add(health);
      chip.setAttribute("aria-pressed", String(view.only.has(health)));
      arrange();
    });
    byId("healths").append(chip);
    view.chips.set(health, chip);
  }
  byId("filter").addEventListener("input", (event) => {
    view.words = event.target.value.toLowerCase();
    arrange();
  });
  byId("target-filter").addEventListener("change", (event) => {
    view.target = event.target.value;
    arrange();
  });
  view.window = new Window(byId("tables-grid"), byId("tables").tBodies[0], createRow, changeRow);
}

function sortBy(column) {
  view.down = view.by === column.id ? !view.down : column.down;
  view.by = column.id;
  arrange();
}

function matches(table) {
  if (view.target && table.target !== view.target) return false;
  if (view.only.size && !view.only.has(table.health)) return false;
  if (!view.words) return true;
  const all = `${table.target} ${table.table} ${table.health} ${table.reason ?? ""}`.toLowerCase();
  return view.words.split(" ").every((word) => all.includes(word));
}

// Which tables are shown, and in what order.
function arrange() {
  const column = COLUMNS.find((column) => column.id === view.by);
  const sign = view.down ? -1 : 1;
  const shown = [...state.tables.values()].filter(matches);
  shown.sort((a, b) => sign * column.compare(a, b) || text(a.table, b.table) || text(a.target, b.target));
  view.shown = shown;
  for (const [id, th] of view.heads) {
    if (id === view.by) th.setAttribute("aria-sort", view.down ? "descending" : "ascending");
    else th.removeAttribute("aria-sort");
  }
  const all = state.tables.size;
  show(byId("tables-count"), shown.length === all ? count(all) : `${count(shown.length)} of ${count(all)}`);
  byId("tables").setAttribute("aria-rowcount", shown.length + 1);
  const none = byId("tables-none");
  none.hidden = shown.length > 0 || !state.overview;
  show(none, all ? "No table is like that. Esc shows all again." : "No table is known yet.");
  const counts = new Map();
  for (const table of state.tables.values()) counts.set(table.health, (counts.get(table.health) ?? 0) + 1);
  for (const [health, chip] of view.chips) {
    const n = counts.get(health) ?? 0;
    chip.hidden = n === 0 && !view.only.has(health);
    show(chip.lastChild, count(n));
  }
  view.window.set(shown);
}

function createRow() {
  const row = make("tr", "row");
  for (const column of COLUMNS) {
    row.append(make("td", `c-${column.id}${column.n ? " n" : ""}`));
  }
  const [health, , , , , trend] = row.cells;
  health.append(make("span", "word"));
  health.firstChild.append(make("span"), make("span"));
  trend.append(spark());
  row.addEventListener("click", () => choose(row.key));
  row.addEventListener("dblclick", () => openDetail());
  return row;
}

function changeRow(row, table, n) {
  const key = keyOf(table.target, table.table);
  const chosen = key === view.chosen;
  if (row.chosen !== chosen) row.setAttribute("aria-selected", String(chosen));
  if (row.index !== n) row.setAttribute("aria-rowindex", n + 2);
  const why = because(table);
  row.chosen = chosen;
  row.index = n;
  row.key = key;
  if (row.of === table && row.why === why) return;
  row.of = table;
  row.why = why;
  const [health, name, rows, fragments, small, trend, size, deleted, unindexed, versions, reason] = row.cells;
  mark(health.firstChild, `word is-${table.health}`);
  mark(health.firstChild.firstChild, `dot bg-${table.health}`);
  show(health.firstChild.lastChild, table.health);
  show(name, state.overview.targets.length > 1 ? `${table.table}  ·  ${table.target}` : table.table);
  name.title = `${table.table} of ${table.target}`;
  show(rows, count(table.rows));
  show(fragments, count(table.fragments));
  show(small, count(table.small_fragments));
  drawSpark(trend.firstChild, table.trend, table.trend.fragments, "fragments", count);
  show(size, bytes(table.bytes));
  show(deleted, share(table.deleted_fraction));
  show(unindexed, share(table.unindexed_fraction));
  show(versions, count(table.versions));
  show(reason, why);
  reason.title = why;
}

// What there is to say of a table: what is done to it now, or why it is as it is.
function because(table) {
  if (table.running) {
    const job = state.running.find((job) => job.target === table.target && job.table === table.table);
    return job ? `${job.duty}: ${stepOf(job)}` : `${table.running} at work`;
  }
  const pause = pauseOf(table.target, table.table) ?? pauseOf(table.target, null);
  if (pause) return `paused for ${span(-since(pause.until))}${pause.reason ? `: ${pause.reason}` : ""}`;
  return reasonOf(table);
}

function choose(key) {
  view.chosen = key;
  view.window.draw();
  const table = state.tables.get(key);
  show(byId("chosen"), table ? `${table.table} of ${table.target}` : "no table is selected");
  showActs();
}

// Selects the table that is so many rows further down.
function step(by) {
  if (!view.shown.length) return;
  const at = view.shown.findIndex((table) => keyOf(table.target, table.table) === view.chosen);
  const to = at < 0 ? (by === -1 ? view.shown.length - 1 : 0) : Math.min(view.shown.length - 1, Math.max(0, at + by));
  const table = view.shown[to];
  choose(keyOf(table.target, table.table));
  view.window.reveal(to);
}
