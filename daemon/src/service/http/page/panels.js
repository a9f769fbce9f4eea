// Everything around the tables: targets, jobs at work, the queue, pauses and history.

function stepOf(job) {
  return job.all ? `${job.phase} ${count(job.done)} of ${count(job.all)}` : job.phase;
}

function drawTargets() {
  const targets = state.overview.targets;
  fill(byId("targets").tBodies[0], targets, (target) => target.name, createTarget, changeTarget);
  const select = byId("target-filter");
  const names = targets.map((target) => target.name).join("\u0000");
  select.hidden = targets.length < 2;
  if (select.names === names) return;
  select.names = names;
  // The one that was looked at may be kept no more.
  if (!targets.some((target) => target.name === view.target)) view.target = "";
  select.replaceChildren(make("option", "", "all targets"), ...targets.map((target) => make("option", "", target.name)));
  [...select.options].forEach((option, n) => { option.value = n ? targets[n - 1].name : ""; });
  select.value = view.target;
}

function createTarget(target) {
  const row = make("tr");
  const name = make("th");
  name.scope = "row";
  name.append(make("span", "name", target.name), make("span", "uri"), make("span", "uri"));
  row.append(name);
  for (const kind of ["shares", "n", "trend", "n", "trend", "n", "n", "n", "n", ""]) row.append(make("td", kind === "shares" ? "" : kind));
  const [, shares, , fragments, , size, , , , , acts] = row.cells;
  const mix = make("div", "shares");
  mix.append(make("span", "mix"), make("span"));
  shares.append(mix);
  fragments.append(spark());
  size.append(spark());
  const button = make("button", "quiet writes", "Pause");
  button.type = "button";
  button.addEventListener("click", () => pauseOrResume(target.name, null));
  acts.append(button);
  return row;
}

function changeTarget(row, target) {
  const [name, shares, fragments, trend, size, sizes, jobs, due, queue, looked, acts] = row.cells;
  const uri = name.children[1];
  const trouble = target.failing ?? (target.status === "stuck" ? "its keeper is stuck" : null);
  show(uri, trouble ?? (target.kind ? `${target.kind}, ${target.uri}` : `opening ${target.uri}`));
  mark(uri, trouble ? "uri bad" : "uri");
  const schedules = target.schedules ?? [];
  uri.title = [trouble ? `${target.uri}: ${trouble}` : target.uri, ...schedules.map(scheduleOf)].join("\n");
  const coming = schedules.filter((schedule) => schedule.next).sort((a, b) => text(a.next, b.next));
  const comes = name.children[2];
  comes.hidden = coming.length === 0;
  if (coming.length) show(comes, scheduleOf(coming[0]));
  drawMix(shares.firstChild, target);
  show(fragments, count(target.layout.fragments));
  drawSpark(trend.firstChild, target.trend, target.trend.fragments, "fragments", count);
  show(size, bytes(target.layout.bytes));
  drawSpark(sizes.firstChild, target.trend, target.trend.bytes, "size", bytes);
  show(jobs, count(target.running));
  show(due, count(target.backlog));
  show(queue, target.kind === "directory" ? "–" : count(target.tickets));
  show(looked, target.looked ? `${span(since(target.looked))} ago` : "never");
  const button = acts.firstChild;
  show(button, pauseOf(target.name, null) ? "Resume" : "Pause");
  button.setAttribute("aria-label", `${button.shown} ${target.name}`);
}

// When a cron schedule comes: in UTC, as it is written, and by the daemon's clock on the wall.
function scheduleOf(schedule) {
  if (!schedule.next) return `${schedule.duty} at ${schedule.cron}: never again`;
  const minutes = (time) => time.slice(0, 16).replace("T", " ");
  const local = schedule.next_local ? `, ${minutes(schedule.next_local)} ${schedule.next_local.slice(-6)} local` : "";
  return `next ${schedule.duty} ${minutes(schedule.next)} UTC${local}`;
}

function drawMix(cell, target) {
  const id = JSON.stringify(target.health);
  if (cell.drawn === id) return;
  cell.drawn = id;
  const there = HEALTHS.filter((health) => target.health[health] > 0);
  cell.firstChild.replaceChildren(...there.map((health) => {
    const part = make("span", `bg-${health}`);
    part.style.width = `${(target.health[health] / target.tables) * 100}%`;
    return part;
  }));
  show(cell.lastChild, there.map((health) => `${count(target.health[health])} ${health}`).join(", ") || "no tables yet");
}

function entry(lines) {
  const item = make("li");
  const head = make("div", "head");
  head.append(make("b"), make("span", "soft"), make("span", "end"));
  item.append(head);
  for (let n = 0; n < lines; n += 1) item.append(make("div", "line"));
  return item;
}

function drawRunning() {
  const key = (job) => `${keyOf(job.target, job.table)}\u0000${job.since}`;
  const create = () => {
    const item = entry(1);
    item.append(make("progress"));
    return item;
  };
  fill(byId("running"), state.running, key, create, (item, job) => {
    const [head, line, progress] = item.children;
    show(head.children[0], job.table);
    show(head.children[1], job.target);
    show(head.children[2], span(since(job.since)));
    show(line, `${job.duty}, ${job.forced ? "called for" : words(job.reason)}: ${stepOf(job)}`);
    progress.setAttribute("aria-label", `${job.duty} of ${job.table}`);
    if (job.all) {
      progress.max = job.all;
      progress.value = job.done;
    }
    progress.hidden = !job.all;
  });
  const { places, taken } = state.overview;
  show(byId("running-count"), state.running.length || "");
  show(byId("places"), `${taken} of ${places} taken`);
  byId("running-none").hidden = state.running.length > 0;
}

function drawQueue() {
  const shortly = (operation) => operation.slice(0, 13);
  const known = new Map(state.queue.map((ticket) => [ticket.operation, ticket]));
  fill(byId("queue"), state.queue, (ticket) => ticket.operation, () => entry(3), (item, ticket) => {
    const [head, by, tables, waits] = item.children;
    show(head.children[0], `${ticket.kind} ${shortly(ticket.operation)}`);
    show(head.children[1], ticket.state);
    mark(head.children[1], ticket.state === "quarantined" ? "is-failing" : "soft");
    show(head.children[2], span(since(ticket.since)));
    show(by, `${ticket.target}, by ${ticket.actor}`);
    show(tables, `on ${[...ticket.writes, ...ticket.reads].join(", ")}`);
    const [first, ...others] = ticket.waits_for;
    const ahead = known.get(first);
    const more = others.length ? ` and ${others.length} more` : "";
    show(waits, ticket.reason ?? (first ? `waits for ${ahead ? `${ahead.kind} ` : ""}${shortly(first)}${ahead ? ` by ${ahead.actor}` : ""}${more}` : "nothing is ahead"));
    mark(waits, first || ticket.reason ? "line whole" : "line faint");
  });
  show(byId("queue-count"), state.queue.length || "");
  byId("queue-none").hidden = state.queue.length > 0;
}

function drawPauses() {
  const { unreadable, not_kept: unwritten } = state.onDisk;
  byId("pauses-unreadable").hidden = !unreadable;
  show(byId("pauses-unreadable"), unreadable ? `Every target is paused: the pauses cannot be read (${unreadable}). Fix the file and restart the daemon, or let everything go on with \`squire resume\`.` : "");
  byId("pauses-unwritten").hidden = !unwritten;
  show(byId("pauses-unwritten"), unwritten ? `A restart would not know the pauses as they are: ${unwritten}` : "");
  byId("pauses-section").hidden = state.pauses.length === 0;
  show(byId("pauses-count"), state.pauses.length || "");
  const create = (pause) => {
    const item = entry(1);
    const resume = make("button", "quiet writes", "Resume");
    resume.type = "button";
    resume.addEventListener("click", () => pauseOrResume(pause.target, pause.table ?? null));
    item.firstChild.append(resume);
    return item;
  };
  fill(byId("pauses"), state.pauses, (pause) => keyOf(pause.target, pause.table ?? ""), create, (item, pause) => {
    const [head, line] = item.children;
    show(head.children[0], pause.table ?? pause.target);
    show(head.children[1], pause.table ? pause.target : "the whole target");
    show(head.children[2], `for ${span(-since(pause.until))}`);
    show(line, pause.reason ?? "no reason was given");
  });
}

function change(before, after, of) {
  return after ? `${of(before)} → ${of(after)}` : of(before);
}

const RUNS = 60;

function drawRuns() {
  const runs = [...state.runs.values()].sort((a, b) => b.id - a.id);
  for (const old of runs.slice(400)) state.runs.delete(old.id);
  fill(byId("runs"), runs.slice(0, RUNS), (run) => run.id, () => entry(2), changeRun);
  show(byId("runs-count"), runs.length || "");
  byId("runs-none").hidden = runs.length > 0;
}

function changeRun(item, run) {
  const [head, line, left] = item.children;
  show(head.children[0], run.table);
  show(head.children[1], run.target);
  show(head.children[2], `${span(since(run.began) - run.seconds)} ago`);
  show(line, `${run.duty} ${run.outcome} in ${run.seconds < 10 ? `${run.seconds.toFixed(1)} s` : span(run.seconds)}, ${run.forced ? "called for" : words(run.reason)}`);
  mark(line, `line outcome-${run.outcome}`);
  const fragments = change(run.before, run.after, (layout) => count(layout.fragments));
  const size = change(run.before, run.after, (layout) => bytes(layout.bytes));
  show(left, run.outcome === "failed" ? run.detail : run.detail ? words(run.detail) : `${fragments} fragments, ${size}`);
  mark(left, run.outcome === "failed" ? "line whole" : "line");
  left.title = left.shown;
}
