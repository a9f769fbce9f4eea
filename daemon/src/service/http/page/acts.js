// What a person does: details, pauses, calls for work, the token.

const UNKNOWN = "The daemon does not know this token. It has its own from SQUIRE_TOKEN, or from the systemd credential squire-token.";

let subject = null;
let afterToken = null;

function tell(what) {
  const told = byId("told");
  show(told, what);
  told.hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { told.hidden = true; }, 6000);
}

const readOnly = () => !state.overview || state.overview.writable === "local";

function showActs() {
  const chosen = state.tables.get(view.chosen);
  for (const button of document.querySelectorAll("button.writes")) button.disabled = readOnly();
  byId("open-button").disabled = !chosen;
  for (const id of ["pause-button", "run-button"]) byId(id).disabled = readOnly() || !chosen;
  show(byId("pause-button").firstChild, chosen && pauseOf(chosen.target, chosen.table) ? "Resume " : "Pause ");
  byId("read-only").hidden = !state.overview || !readOnly();
  byId("token-button").hidden = Boolean(state.overview) && readOnly();
}

// Asks for the token first, where one is needed and none is known.
function withToken(act) {
  if (readOnly() || token.get()) return act();
  askToken("Changes need the daemon’s token. It is kept until this tab is closed, and sent to this daemon alone.", act);
}

function askToken(why, then = null) {
  afterToken = then;
  show(byId("token-why"), why);
  byId("token-input").value = "";
  byId("token-forget").hidden = !token.get();
  if (!byId("token-dialog").open) byId("token-dialog").showModal();
}

// A token is kept only when the daemon knows it.
async function tryToken(given, then) {
  try {
    await ask("overview", "GET", undefined, given);
  } catch (error) {
    if (error.code === 401) askToken(UNKNOWN, then);
    else tell("The daemon cannot be reached.");
    return;
  }
  token.set(given);
  if (then) then();
  round();
}

async function act(path, method, body, done) {
  try {
    await ask(path, method, body);
    tell(done);
  } catch (error) {
    if (error.code === 401) {
      token.forget();
      askToken(UNKNOWN, () => act(path, method, body, done));
    } else {
      tell(error instanceof Refused ? error.message : "The daemon cannot be reached.");
    }
  }
  round();
}

const nameOf = (target, table) => table ?? target;

function pauseOrResume(target, table) {
  if (readOnly()) return;
  if (pauseOf(target, table)) {
    withToken(() => act("pauses", "DELETE", { target, table }, `${nameOf(target, table)} goes on.`));
    return;
  }
  withToken(() => {
    subject = { target, table };
    show(byId("pause-title"), `Pause ${nameOf(target, table)}`);
    byId("pause-dialog").showModal();
  });
}

function runNow(target, table) {
  if (readOnly()) return;
  withToken(() => {
    subject = { target, table };
    show(byId("run-title"), `Run a duty on ${nameOf(target, table)} now`);
    byId("run-dialog").showModal();
  });
}

const ofChosen = (act) => {
  const table = state.tables.get(view.chosen);
  if (table) act(table.target, table.table);
};

let shownDetail = null;

function openDetail() {
  const table = state.tables.get(view.chosen);
  if (!table) return;
  shownDetail = null;
  drawDetail();
  if (!byId("detail").open) byId("detail").showModal();
}

function figure(list, name, value) {
  const pair = make("div");
  pair.append(make("dt", "", name), make("dd", "", value));
  list.append(pair);
}

function curve(title, series, values, told) {
  const part = make("section");
  const line = spark(true);
  drawSpark(line, series, values, title, told);
  part.append(make("h3", "", title), line);
  return part;
}

function dutyRow(duty) {
  const row = make("tr");
  const head = make("th", "", duty.duty);
  head.scope = "row";
  const why = [words(duty.reason), ...duty.details].join("; ");
  const when = duty.not_before && since(duty.not_before) < 0 ? `not before ${span(-since(duty.not_before))}` : "";
  row.append(head, make("td", duty.due ? "is-due" : "soft", duty.due ? "due" : "left alone"), make("td", "", why), make("td", "soft", when), make("td", "soft", `for ${span(since(duty.since))}`));
  return row;
}

// Drawn anew when the table changed, and not on each round: a person may be reading it.
function drawDetail() {
  const table = state.tables.get(view.chosen);
  if (!table) return byId("detail").close();
  const runs = [...state.runs.values()].filter((run) => run.target === table.target && run.table === table.table);
  const id = `${JSON.stringify(table)}/${runs.length}/${Boolean(pauseOf(table.target, table.table))}`;
  if (shownDetail === id) return;
  shownDetail = id;
  show(byId("detail-title"), table.table);
  healthMark(byId("detail-health"), table.health);
  byId("detail-health").append(make("span", "soft", ` · ${table.target}${table.reason ? `: ${reasonOf(table)}` : ""}`));
  const figures = make("dl", "figures");
  figure(figures, "rows", count(table.rows));
  figure(figures, "fragments", count(table.fragments));
  figure(figures, "of these small", count(table.small_fragments));
  figure(figures, "size", bytes(table.bytes));
  figure(figures, "deleted", share(table.deleted_fraction));
  figure(figures, "unindexed", share(table.unindexed_fraction));
  figure(figures, "versions", count(table.versions));
  figure(figures, "version", count(table.version));
  const curves = make("div", "curves");
  curves.append(curve("fragments", table.trend, table.trend.fragments, count), curve("size", table.trend, table.trend.bytes, bytes));
  const duties = make("section");
  const list = make("table", "duties");
  const body = make("tbody");
  body.append(...table.duties.map(dutyRow));
  list.append(body);
  duties.append(make("h3", "", "what was decided last"), list);
  const history = make("section");
  const past = make("ul", "jobs");
  for (const run of runs.sort((a, b) => b.id - a.id).slice(0, 8)) {
    const item = entry(2);
    changeRun(item, run);
    past.append(item);
  }
  history.append(make("h3", "", runs.length ? "history" : "no job has ended on it since the daemon started"), past);
  byId("detail-body").replaceChildren(figures, curves, duties, history);
  show(byId("detail-pause"), pauseOf(table.target, table.table) ? "Resume" : "Pause");
}

function openActs() {
  byId("open-button").addEventListener("click", openDetail);
  for (const id of ["pause-button", "detail-pause"]) byId(id).addEventListener("click", () => ofChosen(pauseOrResume));
  for (const id of ["run-button", "detail-run"]) byId(id).addEventListener("click", () => ofChosen(runNow));
  byId("help-button").addEventListener("click", () => byId("help-dialog").showModal());
  byId("token-button").addEventListener("click", () => askToken("It is kept until this tab is closed, and sent to this daemon alone."));
  for (const close of document.querySelectorAll("[data-close]")) close.addEventListener("click", () => close.closest("dialog").close());
  byId("pause-form").addEventListener("submit", () => {
    const { target, table } = subject;
    const body = { target, table, for: byId("pause-for").value, reason: byId("pause-reason").value || null };
    act("pauses", "POST", body, `${nameOf(target, table)} is paused.`);
  });
  byId("run-form").addEventListener("submit", () => {
    const { target, table } = subject;
    const body = { target, table, duty: byId("run-duty").value || null };
    act("runs", "POST", body, `${nameOf(target, table)} is maintained as soon as nothing holds it back.`);
  });
  byId("token-form").addEventListener("submit", () => {
    const given = byId("token-input").value.trim();
    byId("token-input").value = "";
    if (given) tryToken(given, afterToken);
  });
  byId("token-forget").addEventListener("click", () => {
    token.forget();
    byId("token-dialog").close();
    tell("The token is forgotten.");
  });
}
