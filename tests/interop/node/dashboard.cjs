// The dashboard as a person sees it, in a headless Chromium that is not ours.
//
// Prints "ok CASE" for each case, or ends with the failed assertion. AGENTCOM_OPEN_HTTP is where
// the page is, AGENTCOM_OPEN_OPERATOR the operator's token, AGENTCOM_OPEN the TCP door, and
// CHROMIUM the browser. With SHOTS set to a folder, it leaves pictures there.

const assert = require("node:assert/strict");
const net = require("node:net");
const { chromium } = require("playwright-core");

const { AGENTCOM_OPEN, AGENTCOM_OPEN_HTTP, AGENTCOM_OPEN_OPERATOR, CHROMIUM, SHOTS } = process.env;
const HUB = `http://${AGENTCOM_OPEN_HTTP}`;
// Far more than anything here takes; only a failure waits for it.
const PATIENCE = 20_000;
// If the page took it for markup, it would run this.
const EVIL = "<img src=x onerror=document.title='owned'><b>bold</b>";

async function submit(description, more = {}) {
  const answer = await fetch(`${HUB}/api/tasks`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Authorization: `Bearer ${AGENTCOM_OPEN_OPERATOR}`,
    },
    body: JSON.stringify({ description, ...more }),
  });
  assert.equal(answer.status, 201, await answer.clone().text());
  return (await answer.json()).task_id;
}

/** An agent over TCP that fails the first task it is offered, for good, and holds the next. */
function failingAgent(name) {
  const [host, port] = AGENTCOM_OPEN.split(":");
  const socket = net.connect(Number(port), host);
  socket.setEncoding("utf8");
  socket.write(`CONNECT {"verbose":false}\r\nWORKER START 1 ${name} credit=1\r\n`);
  let heard = "";
  const failed = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no offer in: ${heard}`)), PATIENCE);
    socket.on("data", (data) => {
      heard += data;
      const offer = /\r\nOFFER (\d+) (\d+) /.exec(heard);
      if (!offer) return;
      clearTimeout(timer);
      socket.removeAllListeners("data");
      const [, task, generation] = offer;
      const error = `no ${EVIL}`;
      const end = `TASK FAIL 2 ${task} ${generation} class=fatal ${error.length}`;
      socket.write(`${end}\r\n${error}\r\n`);
      resolve();
    });
  });
  return { failed, socket };
}

async function main() {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE);
    const complaints = [];
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("dialog", (dialog) => complaints.push(dialog.message()));
    const row = (table, text) => page.locator(`#${table} tr`, { hasText: text });
    const shot = (name) => SHOTS && page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage: true });

    const answer = await page.goto(`${HUB}/dashboard`);
    assert.equal(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert.match(answer.headers()["content-security-policy"], /default-src 'none'/);
    await page.getByText("live", { exact: true }).waitFor();
    await row("queued", "none").waitFor();
    console.log("ok page");

    const task = await submit(EVIL, { needed_capabilities: ["nobody-can"] });
    await row("queued", task).getByText(EVIL).waitFor();
    assert.equal(await page.locator("img, #queued b").count(), 0);
    assert.equal(await page.title(), "AgentCom");
    console.log("ok live");

    await page.getByRole("button", { name: `Cancel ${task}` }).click();
    await page.getByRole("alert").getByText("Sign in with a token").waitFor();
    await row("queued", task).waitFor();
    await page.getByLabel("Token").fill("0".repeat(64));
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("this token opens nothing").waitFor();
    await page.getByLabel("Token").fill(AGENTCOM_OPEN_OPERATOR);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("signed in as operator").waitFor();
    // This browser asks nobody and allows no notifications.
    await page.getByRole("button", { name: "Notify this browser" }).click();
    await page.getByRole("alert").getByText("does not allow notifications").waitFor();
    await page.getByRole("button", { name: `Cancel ${task}` }).click();
    await row("queued", "none").waitFor();
    console.log("ok cancel");

    const doomed = await submit("doomed");
    const agent = failingAgent("failing");
    await agent.failed;
    await row("dead", doomed).getByText(`no ${EVIL}`).waitFor();
    await shot("dead");
    await page.getByRole("button", { name: `Retry ${doomed}` }).click();
    await row("dead", "none").waitFor();
    await row("agents", "failing").getByText(doomed).waitFor();
    await shot("retried");
    console.log("ok retry");

    const hopeless = await submit("hopeless");
    const other = failingAgent("other");
    await other.failed;
    await page.getByRole("button", { name: `Discard ${hopeless}` }).click();
    await row("dead", "none").waitFor();
    agent.socket.destroy();
    other.socket.destroy();
    console.log("ok discard");

    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
