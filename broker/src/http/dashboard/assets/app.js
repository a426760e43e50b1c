// The dashboard: what the broker says to the view, what is pressed to the broker.

import { Connection } from "./connection.js";
import * as push from "./push.js";
import { button, showActivity, showCaller, showConnection, showNotice, showSnapshot } from "./view.js";

// A snapshot is asked for when something happened, and not more often than this.
const REFRESH_MS = 1000;
// And so often if nothing did, so that "5 min ago" does not stand still.
const IDLE_REFRESH_MS = 15000;

let token = "";
let refresh = null;

function askSoon(wait = REFRESH_MS) {
  if (refresh !== null && wait === REFRESH_MS && refresh.wait !== REFRESH_MS) {
    clearTimeout(refresh.timer);
    refresh = null;
  }
  refresh ??= {
    wait,
    timer: setTimeout(() => {
      refresh = null;
      connection.send({ type: "request_snapshot" });
    }, wait),
  };
}

function act(frame) {
  if (!connection.send(frame)) showNotice("There is no connection to the broker right now.");
}

const actions = {
  cancel: (id) =>
    button("Cancel", `Cancel ${id}`, () => act({ type: "cancel_task", task_id: id })),
  discard: (id) =>
    button("Discard", `Discard ${id}`, () => act({ type: "cancel_task", task_id: id })),
  retry: (id) => button("Retry", `Retry ${id}`, () => act({ type: "retry_task", task_id: id })),
  acknowledge: (id) =>
    button("Acknowledge", `Acknowledge ${id}`, () =>
      act({ type: "acknowledge_alert", rule_id: id })),
};

const notify = document.getElementById("notify");

const RESULTS = new Set(["requeued", "cancelled", "acknowledged"]);

function showResult(frame) {
  const subject = frame.task_id ?? frame.rule_id;
  if (RESULTS.has(frame.status)) showNotice("");
  else if (frame.status === "unauthorized") showNotice("Sign in with a token to do this.");
  else showNotice(`${subject}: ${frame.status}`);
  askSoon();
}

const frames = {
  snapshot: (frame) => {
    showSnapshot(frame.data, actions);
    askSoon(IDLE_REFRESH_MS);
  },
  events: (frame) => {
    const shown = frame.data.filter((event) => event.type !== "metrics_snapshot");
    shown.forEach(showActivity);
    if (shown.length > 0) askSoon();
  },
  execution_event: showActivity,
  retry_result: showResult,
  cancel_result: showResult,
  alert_ack_result: showResult,
  authenticated: (frame) => {
    showNotice("");
    showCaller(`signed in as ${frame.name}`, true);
    notify.hidden = !(push.isPossible && frame.is_admin);
  },
  authentication_failed: () => {
    token = "";
    notify.hidden = true;
    showCaller("this token opens nothing", false);
  },
};

const connection = new Connection({
  frame: (frame) => frames[frame.type]?.(frame),
  state: (word) => {
    showConnection(word);
    if (word === "live" && token) act({ type: "authenticate", token });
  },
});

document.getElementById("login").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const field = document.getElementById("token");
  token = field.value.trim();
  field.value = "";
  act({ type: "authenticate", token });
});

notify.addEventListener("click", async () => {
  try {
    await push.subscribe(token);
    notify.hidden = true;
    showNotice("This browser is told of alerts from now on.");
  } catch (error) {
    showNotice(error.message);
  }
});
