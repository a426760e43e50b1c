// A NATS client for Node against a broker: prints "ok CASE" for each case, or ends with the error.
// The argument is the package: "@nats-io/transport-node" (version 3) or "nats" (version 2).
// How it finds its brokers and asks for a restart: see ../script.rs.
"use strict";

const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const readline = require("node:readline");
const { connect, headers } = require(process.argv[2]);

const OPEN = process.env.AGENTCOM_OPEN;
const TOKEN = process.env.AGENTCOM_TOKEN;
const USERS = process.env.AGENTCOM_USERS;

const open = (options = {}) => connect({ servers: OPEN, ...options });

/** A function that waits for the next `count` messages of a subscription. */
function taker(subscription) {
  const iterator = subscription[Symbol.asyncIterator]();
  return async (count) => {
    const messages = [];
    while (messages.length < count) messages.push((await iterator.next()).value);
    return messages;
  };
}

const texts = (messages) => messages.map((message) => message.string());

const cases = {
  async "publish and subscribe"() {
    const [publisher, subscriber] = [await open(), await open()];
    const subscription = subscriber.subscribe("orders.new", { max: 1000 });
    await subscriber.flush();
    const sent = Array.from({ length: 1000 }, (_, number) => String(number));
    for (const data of sent) publisher.publish("orders.new", data);
    assert.deepEqual(texts(await taker(subscription)(1000)), sent);
    publisher.publish("orders.new", "one too many");
    await publisher.flush();
    await subscriber.flush();
    assert.equal(subscription.getReceived(), 1000);
    await Promise.all([publisher.close(), subscriber.close()]);
  },

  async wildcards() {
    const client = await open();
    const [one, tail] = [client.subscribe("a.*"), client.subscribe("a.>")];
    for (const subject of ["a", "a.b", "a.b.c", "b.b"]) client.publish(subject, subject);
    await client.flush();
    assert.deepEqual([one.getReceived(), tail.getReceived()], [1, 2]);
    assert.deepEqual(texts(await taker(one)(1)), ["a.b"]);
    assert.deepEqual(texts(await taker(tail)(2)), ["a.b", "a.b.c"]);
    await client.close();
  },

  async "queue groups"() {
    const clients = [await open(), await open(), await open()];
    const members = clients.slice(1).map((c) => c.subscribe("jobs", { queue: "workers" }));
    for (const client of clients) await client.flush();
    for (let number = 0; number < 100; number++) clients[0].publish("jobs", "job");
    for (const client of clients) await client.flush();
    const shares = members.map((member) => member.getReceived());
    assert.equal(shares[0] + shares[1], 100);
    assert(shares[0] > 0 && shares[1] > 0, `${shares}`);
    await Promise.all(clients.map((client) => client.close()));
  },

  async "request and reply"() {
    const [service, client] = [await open(), await open()];
    service.subscribe("service", {
      callback: (_error, message) => message.respond(message.string().toUpperCase()),
    });
    await service.flush();
    const numbers = Array.from({ length: 100 }, (_, number) => number);
    const replies = await Promise.all(numbers.map((n) => client.request("service", `n${n}`)));
    assert.deepEqual(texts(replies), numbers.map((n) => `N${n}`));
    const alone = await client.request("service", "own", { noMux: true, timeout: 5000 });
    assert.equal(alone.string(), "OWN");
    await Promise.all([service.close(), client.close()]);
  },

  async "no responders"() {
    const client = await open();
    await assert.rejects(
      client.request("nobody", "hello?", { timeout: 5000 }),
      (error) => error.code === "503" || error.isNoResponders?.(),
    );
    await client.close();
  },

  async headers() {
    const client = await open();
    const take = taker(client.subscribe("h"));
    const sent = headers();
    sent.append("Trace-Id", "7f");
    sent.append("Trace-Id", "x: y");
    client.publish("h", "body", { headers: sent });
    const [message] = await take(1);
    assert.equal(message.string(), "body");
    assert.deepEqual(message.headers.values("Trace-Id"), ["7f", "x: y"]);
    await client.close();
  },

  async "big payloads"() {
    const client = await open();
    assert.equal(client.info.max_payload, 1024 * 1024);
    const take = taker(client.subscribe("big"));
    const data = crypto.randomBytes(client.info.max_payload);
    client.publish("big", data);
    assert.deepEqual(Buffer.from((await take(1))[0].data), data);
    const sent = headers();
    sent.set("Size", "big");
    client.publish("big", data.subarray(100), { headers: sent });
    assert.deepEqual(Buffer.from((await take(1))[0].data), data.subarray(100));
    await client.close();
  },

  async drain() {
    const [client, publisher] = [await open(), await open()];
    let seen = 0;
    client.subscribe("d", { callback: () => seen++ });
    await client.flush();
    for (let number = 0; number < 500; number++) publisher.publish("d", "x");
    await publisher.flush();
    await client.drain();
    assert.equal(seen, 500);
    assert(client.isClosed());
    await publisher.close();
  },

  async token() {
    await letIn({ servers: TOKEN, token: "secret" });
    await keptOut({ servers: TOKEN, token: "wrong" });
    await keptOut({ servers: TOKEN });
  },

  async "user and password"() {
    await letIn({ servers: USERS, user: "alice", pass: "pw" });
    await keptOut({ servers: USERS, user: "alice", pass: "wrong" });
    await keptOut({ servers: USERS, user: "bob", pass: "pw" });
  },

  async reconnect() {
    const client = await open({ reconnectTimeWait: 50, maxReconnectAttempts: -1 });
    const take = taker(client.subscribe("r.*"));
    client.publish("r.1", "before");
    assert.deepEqual(texts(await take(1)), ["before"]);
    const back = (async () => {
      for await (const event of client.status()) if (event.type === "reconnect") return;
    })();
    console.log("RESTART");
    const stdin = readline.createInterface({ input: process.stdin });
    await new Promise((resolve) => stdin.once("line", resolve));
    stdin.close();
    await back;
    client.publish("r.2", "after");
    assert.deepEqual(texts(await take(1)), ["after"]);
    await client.close();
  },
};

async function letIn(options) {
  const client = await connect({ reconnect: false, ...options });
  await client.flush();
  await client.close();
}

async function keptOut(options) {
  await assert.rejects(letIn(options), /authorization.violation/i);
}

(async () => {
  for (const [name, run] of Object.entries(cases)) {
    await run();
    console.log(`ok ${name}`);
  }
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
