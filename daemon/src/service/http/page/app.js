// The rounds, the keys, and what is said of the daemon itself.

const EVERY = 2000;
const EVERY_UNSEEN = 15000;
const STALE = 10;

let answered = null;
let trouble = null;
let next = null;
let asking = false;

async function round() {
  if (asking) return;
  asking = true;
  clearTimeout(next);
  try {
    const moved = await follow();
    answered = Date.now();
    trouble = null;
    draw(moved);
  } catch (error) {
    trouble = error;
    if (error.code === 401 && !byId("token-dialog").open) {
      const known = token.get();
      token.forget();
      askToken(known ? UNKNOWN : "This daemon tells nothing without its token. It is kept until this tab is closed, and sent to this daemon alone.");
    }
  }
  asking = false;
  showLife();
  next = setTimeout(round, document.hidden ? EVERY_UNSEEN : EVERY);
}

function draw(moved) {
  const { overview } = state;
  show(byId("version"), overview.version);
  drawConfiguration();
  drawTargets();
  drawRunning();
  drawPauses();
  drawQueue();
  drawRuns();
  if (moved) arrange();
  else view.window.draw();
  showActs();
  if (byId("detail").open) drawDetail();
  const bad = overview.targets.reduce((sum, target) => sum + target.health.stuck + target.health.failing, 0);
  document.title = bad ? `(${bad}) Squire` : "Squire";
}

// Which configuration is in force, and whether a newer one is not.
function drawConfiguration() {
  const { in_force_since: inForce, last } = state.overview.configuration;
  show(byId("configured"), `${span(since(inForce))} ago`);
  const refused = byId("refused");
  refused.hidden = !last.error;
  if (last.error) show(refused, `A new configuration was refused ${span(since(last.at))} ago, and the one before stays in force. ${last.error}`);
  const distrust = state.overview.clock;
  const clock = byId("clock");
  clock.hidden = !distrust;
  if (distrust) show(clock, `No old version is removed: ${distrust}.`);
  const keys = last.waits_for_restart ?? [];
  const waits = byId("waits");
  waits.hidden = keys.length === 0;
  show(waits, keys.length ? `The configuration changes ${keys.join(", ")}: that comes into force with a restart of the daemon.` : "");
}

// Whether what is shown is what there is.
function showLife() {
  const age = answered ? (Date.now() - answered) / 1000 : Infinity;
  const live = byId("live");
  let is = "live";
  let says = "live";
  if (trouble && trouble.code) [is, says] = ["gone", trouble.code === 401 ? "needs the token" : "refused"];
  else if (trouble) [is, says] = ["gone", answered ? `gone, ${span(age)} old` : "no answer"];
  else if (!answered) [is, says] = ["waiting", "connecting"];
  else if (age > STALE) [is, says] = ["stale", `${span(age)} old`];
  live.dataset.is = is;
  show(byId("live-text"), says);
  document.body.classList.toggle("gone", is === "gone" && answered !== null);
  const alarm = byId("alarm");
  alarm.hidden = is !== "gone";
  if (is === "gone") {
    show(alarm, trouble.code ? trouble.message : answered
      ? "The daemon does not answer. What is shown was so when it answered last; this page goes on asking."
      : "No daemon answers. This page goes on asking.");
  }
  if (state.overview) show(byId("uptime"), span(since(state.overview.started)));
}

const THEMES = { light: "dark", dark: "light" };

function openTheme() {
  const kept = localStorage.getItem("squire-theme");
  if (kept in THEMES) document.documentElement.dataset.theme = kept;
  byId("theme-button").addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const is = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
    document.documentElement.dataset.theme = THEMES[is];
    localStorage.setItem("squire-theme", THEMES[is]);
  });
}

const KEYS = {
  "/": () => byId("filter").focus(),
  j: () => step(1),
  k: () => step(-1),
  ArrowDown: () => step(1),
  ArrowUp: () => step(-1),
  g: () => step(-Infinity),
  G: () => step(Infinity),
  Enter: openDetail,
  p: () => ofChosen(pauseOrResume),
  r: () => ofChosen(runNow),
  "?": () => byId("help-dialog").showModal(),
  Escape: showAll,
};

function showAll() {
  view.words = view.target = "";
  view.only.clear();
  byId("filter").value = byId("target-filter").value = "";
  for (const chip of view.chips.values()) chip.setAttribute("aria-pressed", "false");
  arrange();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const writing = event.target.matches("input, select");
  if (writing && event.key === "Escape") {
    event.target.blur();
    byId("tables-grid").focus();
    return;
  }
  if (writing && event.target.id === "filter" && event.key === "Enter") {
    byId("tables-grid").focus();
    step(0);
    return;
  }
  // A button or a link answers to Enter by itself.
  if (writing || (event.key === "Enter" && event.target.matches("button, a"))) return;
  if (!Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
}

openTheme();
openTables();
openActs();
showActs();
document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", () => { if (!document.hidden) round(); });
setInterval(showLife, 1000);
round();
