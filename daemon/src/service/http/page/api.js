// What the daemon is asked, and what it said last.

const TOKEN = "squire-token";
const PATIENCE = 8000;

const state = {
  overview: null,
  tables: new Map(),
  runs: new Map(),
  running: [],
  queue: [],
  pauses: [],
  onDisk: {},
  revision: null,
};

class Refused extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

async function ask(path, method = "GET", body = undefined, shown = token.get()) {
  const headers = {};
  if (shown) headers.Authorization = `Bearer ${shown}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(`/api/v1/${path}`, {
    method,
    headers,
    body: body && JSON.stringify(body),
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, said.error ?? `the daemon answers with ${answer.status}`);
  return said;
}

const keyOf = (target, table) => `${target}\u0000${table}`;

// One round: the overview, and what has changed since the last. Returns what is to be drawn anew.
async function follow() {
  const overview = await ask("overview");
  const asked = [ask("pauses")];
  const moved = overview.revision !== state.revision;
  const busy = overview.targets.some((target) => target.running > 0);
  asked.push(busy ? ask("running") : []);
  if (moved) {
    const from = state.revision === null ? "" : `since=${state.revision}`;
    asked.push(ask(`tables?${from}`), ask(`runs?${from}`));
    const waiting = overview.targets.filter((target) => target.tickets > 0);
    asked.push(Promise.all(waiting.map(async (target) => {
      const tickets = await ask(`targets/${encodeURIComponent(target.name)}/queue`);
      return tickets.map((ticket) => ({ ...ticket, target: target.name }));
    })));
  }
  const [pauses, running, tables, runs, queues] = await Promise.all(asked);
  skew = Date.parse(overview.now) - Date.now();
  if (moved) take(tables, runs, queues.flat());
  // It was read before the rest: what changed in between is asked for once more.
  if (moved) state.revision = overview.revision;
  Object.assign(state, { overview, running, pauses: pauses.pauses, onDisk: pauses });
  return moved;
}

function take(tables, runs, queue) {
  if (tables.whole) {
    state.tables.clear();
    state.runs.clear();
  }
  for (const gone of tables.gone) state.tables.delete(keyOf(gone.target, gone.table));
  for (const table of tables.tables) state.tables.set(keyOf(table.target, table.table), table);
  for (const run of runs) state.runs.set(run.id, run);
  state.queue = queue;
}

function pauseOf(target, table) {
  return state.pauses.find((pause) => pause.target === target && (pause.table ?? null) === table);
}
