// Figures to elements. Whatever agents say becomes text, never markup.

const PRIORITIES = ["urgent", "high", "normal", "low"];

const at = (id) => document.getElementById(id);

/** An element with children; a string is text. */
function element(name, children = [], properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...[children].flat().map((child) => child ?? ""));
  return made;
}

const code = (text) => element("code", String(text ?? ""));

/** A span of time for people. */
export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${ms} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}

const ago = (then, now) => (then ? `${span(Math.max(0, now - then))} ago` : "–");

function rows(id, items, cells) {
  const made = items.map((item) => element("tr", cells(item).map((cell) => element("td", cell))));
  if (made.length === 0) {
    const columns = at(id).parentElement.querySelectorAll("th").length;
    made.push(element("tr", element("td", "none", { className: "none", colSpan: columns })));
  }
  at(id).replaceChildren(...made);
}

function badge(id, text, kind) {
  const found = at(id);
  found.textContent = text;
  found.className = `badge ${kind}`;
}

export function showConnection(word) {
  badge("connection", word, word === "live" ? "good" : "bad");
}

export function showCaller(text, isGood) {
  at("caller").textContent = text;
  at("caller").className = isGood ? "good" : "bad";
}

export function showNotice(text) {
  at("notice").textContent = text;
}

/** Everything in a snapshot. `act` makes the button for something that can be done. */
export function showSnapshot(data, act) {
  const now = data.timestamp;
  const kinds = { ok: "good", warning: "warn", critical: "bad" };
  badge("health", data.health.status, kinds[data.health.status] ?? "bad");
  at("conditions").replaceChildren(...data.health.conditions.map((text) => element("li", text)));
  at("uptime").textContent = `up ${span(data.uptime_ms)}`;
  showNumbers(data);
  showAlerts(data.active_alerts, now, act);
  rows("agents", data.agents, (agent) => [
    code(agent.agent_id),
    agent.fsm_state,
    agent.status,
    agent.current_task_id ? [code(agent.current_task_id), " ", act.cancel(agent.current_task_id)] : "",
    agent.capabilities.map((capability) => capability.name).join(", "),
    ago(agent.connected_at, now),
  ]);
  rows("queued", data.queued_tasks, (task) => [
    code(task.id),
    task.description,
    PRIORITIES[task.priority] ?? String(task.priority),
    ago(task.created_at, now),
    act.cancel(task.id),
  ]);
  rows("dead", data.dead_letter_tasks, (task) => [
    code(task.id),
    task.description,
    task.last_error,
    String(task.retry_count),
    [act.retry(task.id), " ", act.discard(task.id)],
  ]);
  rows("done", data.recent_completions.slice(0, 20), (task) => [
    code(task.task_id),
    task.description,
    code(task.agent_id),
    span(task.duration_ms),
    ago(task.completed_at, now),
  ]);
}

function showNumbers(data) {
  const { by_status: counts, by_priority: waiting, dead_letter: dead } = data.queue;
  const numbers = [
    ["waiting", counts.queued],
    ["assigned", counts.assigned],
    ["completed since start", counts.completed],
    ["dead letters", dead],
    ["completed in the last hour", data.throughput.completed_last_hour],
    ["took on average", span(data.throughput.avg_completion_ms)],
    ...PRIORITIES.map((name, band) => [`waiting, ${name}`, waiting[band]]),
  ];
  at("numbers").replaceChildren(
    ...numbers.map(([name, value]) =>
      element("div", [element("dt", name), element("dd", String(value))])),
  );
}

function showAlerts(alerts, now, act) {
  rows("alerts", alerts, (alert) => [
    code(alert.rule_id),
    element("span", alert.severity, { className: alert.severity === "critical" ? "bad" : "warn" }),
    alert.message,
    ago(alert.fired_at, now),
    alert.acknowledged ? "acknowledged" : act.acknowledge(alert.rule_id),
  ]);
}

const LINES_MAX = 200;

/** One more line of what happens; the oldest ones go. */
export function showActivity(event) {
  const time = new Date(event.timestamp ?? Date.now()).toLocaleTimeString();
  const subject = event.task_id ?? event.agent_id ?? event.rule_id ?? event.data?.rule_id ?? "";
  const words = event.event ?? event.type;
  const by = event.task_id && event.agent_id ? ` by ${event.agent_id}` : "";
  const said = event.text ? `: ${event.text}` : "";
  const list = at("activity");
  list.prepend(element("li", [`${time} ${words} `, code(subject), by + said]));
  while (list.childElementCount > LINES_MAX) list.lastElementChild.remove();
}

/** A button that does `what` once when it is pressed. */
export function button(text, label, what) {
  return element("button", text, { type: "button", ariaLabel: label, onclick: what });
}
