"""The flows of the legacy hub's agents, over real sockets, with a WebSocket client of others.

Prints "ok CASE" for each case, or ends with the failed assertion. How it finds its broker and asks
for a restart: see ../script.rs. Frames and answers are written from the contract.
"""

import asyncio
import contextlib
import json
import os
import sys
import urllib.error
import urllib.request

import nats
import websockets

HTTP = os.environ["AGENTCOM_OPEN_HTTP"]
TCP = os.environ["AGENTCOM_OPEN"]
OPERATOR = os.environ["AGENTCOM_OPEN_OPERATOR"]
# Far more than anything here takes; only a failure waits for it.
PATIENCE = 20


def call(method, path, token=None, body=None):
    """The status and the JSON of an answer."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{HTTP}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def register(name):
    status, answer = call("POST", "/api/onboard/register", body={"agent_id": name})
    assert status == 201, answer
    assert answer["hub_ws_url"] == f"ws://{HTTP}/ws", answer
    return answer["token"]


class Agent:
    """A socket that says and hears JSON."""

    def __init__(self, socket):
        self.socket = socket

    async def say(self, **frame):
        await self.socket.send(json.dumps(frame))

    async def hear(self):
        return json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE))

    async def expect(self, **frame):
        """The next frame, which has at least these fields."""
        heard = await self.hear()
        assert {key: heard.get(key) for key in frame} == frame, heard
        return heard

    async def until(self, kind):
        """The next frame of this type; others are passed over."""
        while True:
            heard = await self.hear()
            if heard["type"] == kind:
                return heard

    async def expect_close(self, code, reason):
        try:
            while True:
                await self.hear()
        except websockets.ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (code, reason), closed


@contextlib.asynccontextmanager
async def stranger():
    # Its queue is not bounded: one that is full keeps it from reading while it says goodbye.
    async with websockets.connect(f"ws://{HTTP}/ws", max_queue=None) as socket:
        yield Agent(socket)


@contextlib.asynccontextmanager
async def agent(name, token, /, **fields):
    async with stranger() as connected:
        await connected.say(type="identify", agent_id=name, token=token, **fields)
        await connected.expect(type="identified", agent_id=name)
        yield connected


def submit(token, description, **fields):
    status, answer = call("POST", "/api/tasks", token, {"description": description, **fields})
    assert status == 201, answer
    return answer["task_id"]


def status_of(token, task):
    status, answer = call("GET", f"/api/tasks/{task}", token)
    return answer["status"] if status == 200 else status


async def mistakes():
    token = register("m1")
    async with stranger() as one:
        await one.socket.send("{")
        await one.expect(type="error", error="invalid_json")
        await one.say(type="ping")
        await one.expect(type="error", error="not_identified")
        await one.say(type="identify", agent_id="m1", token="0" * 64)
        await one.expect(type="error", error="invalid_token")
        await one.say(type="identify", agent_id="m2", token=token)
        await one.expect(type="error", error="token_agent_mismatch")
        await one.say(type="identify", agent_id="m1", capabilities=["a", 1])
        heard = await one.expect(
            type="error", error="validation_failed", message_type="identify"
        )
        assert [error["field"] for error in heard["errors"]] == ["token", "capabilities[1]"]
        await one.socket.send("[1]")
        await one.expect(type="error", error="validation_failed", message_type="unknown")
        for _ in range(7):
            await one.say(type="dance")
            await one.expect(type="error", message_type="dance")
        await one.say(type="dance")
        await one.expect_close(1008, "too many validation errors")
    assert call("GET", "/ws")[0] == 400
    # Whoever says goodbye is answered.
    async with agent("m1", token) as one:
        await one.socket.close()
        assert one.socket.close_code == 1000, one.socket.close_code
    # Whoever said who it was stays away for a while, whatever token it shows then.
    async with agent("m1", token) as one:
        for _ in range(10):
            await one.say(type="message", payload=[])
        await one.expect_close(1008, "too many validation errors")
    async with stranger() as one:
        await one.say(type="identify", agent_id="m1", token="0" * 64)
        try:
            heard = await one.hear()
            assert False, heard
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd.code == 1008, closed
            assert closed.rcvd.reason.startswith("cooldown active: retry in "), closed


async def presence():
    ann, ben = register("p1"), register("p2")
    async with agent("p1", ann, name="Ann", capabilities=["code", "a b"]) as one:
        async with agent("p2", ben, status="idle") as two:
            joined = await one.expect(type="agent_joined")
            assert joined["agent"]["agent_id"] == "p2", joined
            assert (joined["agent"]["name"], joined["agent"]["status"]) == ("p2", "idle")
            await two.say(type="status", status="busy")
            await two.expect(type="status_updated")
            changed = await two.expect(type="status_changed")
            assert changed["agent"]["status"] == "busy", changed
            await one.expect(type="status_changed")
            await one.say(type="list_agents")
            listed = await one.expect(type="agents")
            found = {entry["agent_id"]: entry for entry in listed["agents"]}
            assert found["p1"]["capabilities"] == ["code", "a b"], listed
            assert found["p1"]["name"] == "Ann" and found["p1"]["status"] == "connected"
            status, states = call("GET", "/api/agents/p1/state", ann)
            assert (status, states["fsm_state"]) == (200, "idle"), states
            assert states["capabilities"][0] == {"name": "code"}, states
        await one.expect(type="agent_left", agent_id="p2")
        assert call("GET", "/api/agents/p2/state", ann) == (404, {"error": "agent_not_found"})
        await one.say(type="ping")
        await one.expect(type="pong")
        # The newest connection is the agent.
        async with agent("p1", ann) as newer:
            await one.expect_close(1008, "replaced")
            await newer.say(type="message", to="p1", payload={"text": "me"})
            await newer.expect(type="message_sent")
            await newer.expect(type="message", payload={"text": "me"})


async def messages():
    ann, ben = register("a1"), register("b1")
    async with agent("a1", ann) as one:
        await one.say(type="message", to="b1", payload={"text": "later"}, message_type="request")
        sent = await one.expect(type="message_sent")
        status, box = call("GET", "/api/mailbox/b1", ben)
        assert [mail["id"] for mail in box["messages"]] == [sent["id"]], box
        assert box["messages"][0]["type"] == "request", box
        async with agent("b1", ben) as two:
            await one.expect(type="agent_joined")
            # What waits is not pushed; what comes now is, and waits nowhere.
            await one.say(type="message", to="b1", payload={"text": "now"}, reply_to=sent["id"])
            await one.expect(type="message_sent")
            heard = await two.expect(type="message", message_type="chat", reply_to=sent["id"])
            assert heard["from"] == "a1" and "to" not in heard, heard
            assert call("GET", "/api/mailbox/b1", ben)[1]["count"] == 1
            # The answer comes before the sender's own copy.
            await two.say(type="message", payload={"text": "all"})
            await two.expect(type="message_sent")
            await two.expect(type="message", payload={"text": "all"})
            await one.expect(type="message", payload={"text": "all"})
            call("POST", "/api/message", ann, {"to": "broadcast", "payload": {"text": "http"}})
            await one.expect(type="message", payload={"text": "http"})
            await two.expect(type="message", payload={"text": "http"})
            await two.say(type="message", payload={}, message_type="delegate")
            await two.expect(type="error", error="validation_failed", message_type="message")
    status, answer = call("POST", "/api/mailbox/b1/ack", ben, {"seq": box["last_seq"]})
    assert (status, answer) == (200, {"status": "acked", "up_to": box["last_seq"]}), answer
    assert call("GET", f"/api/threads/{sent['id']}/replies", ann)[1]["count"] == 1


async def channels():
    ann, ben = register("c1"), register("c2")
    assert call("POST", "/api/channels", ann, {"name": "#Talk"})[0] == 201
    native = await nats.connect("nats://" + os.environ["AGENTCOM_OPEN"])
    overheard = await native.subscribe("$AC.EVENT.CHANNEL.talk")
    await native.flush()
    async with agent("c1", ann) as one, agent("c2", ben) as two:
        await one.expect(type="agent_joined")
        await one.say(type="channel_subscribe", channel="#TALK")
        await one.expect(type="channel_subscribed", channel="#TALK")
        await one.say(type="channel_subscribe", channel="talk")
        await one.expect(type="channel_subscribed", channel="talk", note="already_subscribed")
        await two.say(type="channel_subscribe", channel="talk")
        await two.expect(type="channel_subscribed")
        await one.expect(type="channel_agent_joined", channel="talk", agent_id="c2")
        await one.say(type="channel_publish", channel="#talk", payload={"text": "hi"})
        done = await one.expect(type="channel_published", channel="#talk", seq=1)
        heard = await two.expect(type="channel_message", channel="talk", id=done["id"])
        assert (heard["from"], heard["payload"]) == ("c1", {"text": "hi"}), heard
        event = json.loads((await overheard.next_msg(timeout=PATIENCE)).data)
        assert (event["id"], event["channel"]) == (done["id"], "talk"), event
        # Every subscriber but the publisher has a copy, connected or not.
        assert call("GET", "/api/mailbox/c2", ben)[1]["count"] == 1
        await two.say(type="channel_history", channel="talk")
        kept = await two.expect(type="channel_history", channel="talk")
        assert [entry["seq"] for entry in kept["messages"]] == [1], kept
        await two.say(type="channel_unsubscribe", channel="talk")
        await two.expect(type="channel_unsubscribed", channel="talk")
        await two.say(type="list_channels")
        listed = await two.expect(type="channels")
        assert listed["channels"][0]["subscriber_count"] == 1, listed
        for kind in ["channel_subscribe", "channel_unsubscribe"]:
            await two.say(type=kind, channel="none")
            await two.expect(type="error", error="channel_not_found")
    # A subscription outlives the connection.
    async with agent("c2", ben) as two, agent("c1", ann) as one:
        await two.until("agent_joined")
        await two.say(type="channel_publish", channel="talk", payload={"text": "again"})
        await two.expect(type="channel_published", seq=2)
        await one.until("channel_message")
    await native.close()


ASSIGNED = """type task_id description metadata generation assigned_at repo branch file_hints
    success_criteria verification_steps complexity routing_decision skip_verification
    verification_timeout_ms max_verification_retries""".split()


async def tasks():
    token = register("t1")
    async with agent("t1", token, capabilities=["code"]) as one:
        task = submit(token, "do it", needed_capabilities=["code"], metadata={"a": 1},
                      assign_to="t1")
        given = await one.expect(type="task_assign", task_id=task, generation=1)
        assert sorted(given) == sorted(ASSIGNED), sorted(given)
        assert (given["description"], given["metadata"]) == ("do it", {"a": 1}), given
        assert given["complexity"]["effective_tier"] == "standard", given
        assert given["routing_decision"]["target_type"] == "ollama", given
        assert given["repo"] is None and given["file_hints"] == [], given
        assert call("GET", "/api/agents/t1/state", token)[1]["fsm_state"] == "assigned"
        await one.say(type="task_accepted", task_id=task)
        await one.expect(type="task_ack", task_id=task, status="accepted")
        state = call("GET", "/api/agents/t1/state", token)[1]
        assert (state["fsm_state"], state["current_task_id"]) == ("working", task), state
        await one.say(type="task_progress", task_id=task, progress=50)
        await one.say(type="task_complete", task_id=task, generation=7)
        await one.expect(type="error", error="task_complete_failed: stale_generation")
        await one.say(type="task_complete", task_id=task, generation=1,
                      result={"status": "ok"}, tokens_used=9)
        await one.expect(type="task_ack", task_id=task, status="complete")
        status, shown = call("GET", f"/api/tasks/{task}", token)
        assert shown["status"] == "completed", shown
        assert shown["result"] == {"status": "ok", "tokens_used": 9}, shown
        await one.say(type="task_complete", task_id="task-00000000000fffff", generation=1)
        await one.expect(type="error", error="task_complete_failed: not_found")
        await one.say(type="task_accepted", task_id="nonsense")
        await one.expect(type="task_ack", task_id="nonsense", status="accepted")

        # Fail, retry, dead letter, and another life.
        task = submit(token, "try it", max_retries=2, assign_to="t1")
        await one.expect(type="task_assign", task_id=task, generation=1)
        await one.say(type="task_failed", task_id=task, generation=1, reason="x" * 3000)
        await one.expect(type="task_ack", task_id=task, status="retried")
        again = await one.expect(type="task_assign", task_id=task)
        assert again["generation"] == 3, again
        await one.say(type="task_failed", task_id=task, generation=3, error="no")
        await one.expect(type="task_ack", task_id=task, status="dead_letter")
        assert status_of(token, task) == "dead_letter"
        status, answer = call("POST", f"/api/tasks/{task}/retry", token)
        assert (status, answer) == (200, {"status": "requeued", "task_id": task, "priority": 2})
        third = await one.expect(type="task_assign", task_id=task)
        assert call("POST", f"/api/tasks/{task}/retry", token)[0] == 404
        # Called off while somebody is at it.
        await one.say(type="task_accepted", task_id=task)
        await one.expect(type="task_ack", status="accepted")
        status, answer = call("POST", f"/api/tasks/{task}/cancel", token)
        assert (status, answer["previous_status"]) == (200, "assigned"), answer
        await one.expect(type="task_cancelled", task_id=task)
        await one.say(type="task_complete", task_id=task, generation=third["generation"])
        await one.until("error")
        assert status_of(token, task) == 404

        # An admin gives it a task of its own, and tells it to start again.
        wanted = {"agent_id": "t1", "description": "now", "metadata": {"b": 2}}
        assert call("POST", "/api/admin/push-task", token, wanted)[0] == 403
        status, answer = call("POST", "/api/admin/push-task", OPERATOR, wanted)
        assert (status, answer["status"], answer["agent_id"]) == (200, "pushed", "t1"), answer
        given = await one.expect(type="task_assign", task_id=answer["task_id"], description="now")
        await one.say(type="task_complete", task_id=given["task_id"], generation=given["generation"])
        await one.expect(type="task_ack", status="complete")
        status, answer = call("POST", "/api/admin/push-task", OPERATOR, {**wanted, "agent_id": "no"})
        assert (status, answer) == (404, {"error": "agent_not_connected", "agent_id": "no"}), answer
        status, answer = call("POST", "/api/admin/agents/t1/restart", OPERATOR, {})
        assert (status, answer["reason"]) == (200, "admin_commanded"), answer
        await one.expect(type="restart_sidecar", reason="admin_commanded")
        assert call("POST", "/api/admin/agents/no/restart", OPERATOR, {})[0] == 404
        await one.say(type="agent_restarting", reason="told so")
        changed = await one.expect(type="status_changed")
        assert changed["agent"]["status"] == "restarting", changed

        # Whoever is busy says so, and somebody else does it.
        other = register("t2")
        task = submit(token, "take it")
        await one.expect(type="task_assign", task_id=task)
        async with agent("t2", other) as two:
            await one.expect(type="agent_joined")
            await one.say(type="task_rejected", task_id=task, reason="busy")
            given = await two.expect(type="task_assign", task_id=task)
            await two.say(type="task_complete", task_id=task, generation=given["generation"])
            await two.expect(type="task_ack", status="complete")


async def reconnect():
    token = register("r1")
    other = register("r2")
    async with agent("r1", token) as one:
        task = submit(token, "long", assign_to="r1")
        await one.expect(type="task_assign", task_id=task, generation=1)
        await one.say(type="task_accepted", task_id=task)
        await one.expect(type="task_ack", status="accepted")
        # Whose task it is not has nothing to go on with.
        async with agent("r2", other) as two:
            await two.say(type="state_report", task_id=task, generation=1)
            await two.expect(type="state_report_ack", task_id=task, action="abort")
            await two.say(type="task_recovering", task_id=task)
            await two.expect(type="task_reassign", task_id=task)
        one.socket.transport.abort()
    async with agent("r1", token) as one:
        await one.say(type="state_report", task_id=task, status="working", generation=1)
        await one.expect(type="state_report_ack", task_id=task, action="continue")
        await one.say(type="task_complete", task_id=task, generation=1, result={"n": 1})
        # Nothing stands before the answer: it was not assigned a second time.
        await one.expect(type="task_ack", task_id=task, status="complete")
        await one.say(type="state_report", task_id=task, generation=1)
        await one.expect(type="state_report_ack", action="abort")

        # A process that was started again asks for its task, and one that forgot it loses it.
        task = submit(token, "longer", assign_to="r1")
        await one.expect(type="task_assign", task_id=task)
        await one.say(type="task_accepted", task_id=task)
        await one.expect(type="task_ack", status="accepted")
        one.socket.transport.abort()
    async with agent("r1", token) as one:
        await one.say(type="task_recovering", task_id=task)
        heard = await one.expect(type="task_continue", task_id=task, generation=1)
        await one.say(type="task_recovering", task_id="task-00000000000fffff")
        await one.expect(type="task_reassign")
        one.socket.transport.abort()
    async with agent("r1", token) as one:
        given = await one.expect(type="task_assign", task_id=task)
        assert given["generation"] > heard["generation"], given
        await one.say(type="task_complete", task_id=task, generation=given["generation"])
        await one.expect(type="task_ack", status="complete")


class Native:
    """A worker that only knows NATS."""

    async def start(self, name):
        self.name, self.done, self.heard = name, [], []
        self.client = await nats.connect("nats://" + os.environ["AGENTCOM_OPEN"])
        inbox = self.client.new_inbox()
        await self.client.subscribe(inbox, cb=self.pushed)
        await self.client.subscribe("$AC.EVENT.CHANNEL.mixed", cb=self.overheard)
        await self.ask("WORKER.START", agent=name, deliver=inbox, can=["mixed"])
        return self

    async def ask(self, verb, **body):
        answer = await self.client.request(
            "$AC.API." + verb, json.dumps(body).encode(), timeout=PATIENCE
        )
        answer = json.loads(answer.data)
        assert "error" not in answer, answer
        return answer

    async def pushed(self, message):
        offer = json.loads(message.data)
        if offer["type"] == "offer":
            lease = {"task": offer["task"], "generation": offer["generation"]}
            await self.ask("TASK.COMPLETE", result="done", **lease)
            self.done.append(offer["payload"])

    async def overheard(self, message):
        self.heard.append(json.loads(message.data)["payload"]["text"])


async def doors():
    """An agent, a NATS client and a person at a prompt talk in one channel."""
    token = register("d1")
    call("POST", "/api/channels", token, {"name": "lobby"})
    client = await nats.connect(f"nats://{TCP}")
    heard_by_client = await client.subscribe("$AC.EVENT.CHANNEL.lobby")
    await client.flush()
    host, port = TCP.split(":")
    from_broker, to_broker = await asyncio.open_connection(host, int(port))
    await asyncio.wait_for(from_broker.readline(), PATIENCE)

    async def line():
        return (await asyncio.wait_for(from_broker.readline(), PATIENCE)).decode().strip()

    async with agent("d1", token) as one:
        await one.say(type="channel_subscribe", channel="lobby")
        await one.expect(type="channel_subscribed")
        to_broker.write(b"CONNECT {\"verbose\":false}\r\nSUB $AC.EVENT.CHANNEL.lobby 1\r\nPING\r\n")
        assert await line() == "PONG"
        await one.say(type="channel_publish", channel="lobby", payload={"text": "by an agent"})
        await one.expect(type="channel_published")
        assert (await line()).startswith("MSG $AC.EVENT.CHANNEL.lobby 1 ")
        assert json.loads(await line())["payload"] == {"text": "by an agent"}
        to_broker.write(b"MESSAGE SEND 1 #lobby from=dora 7\r\nby hand\r\n")
        said = await one.expect(type="channel_message", channel="lobby", payload={"text": "by hand"})
        assert said["from"] == "dora", said
        message = {"to": "#lobby", "from": "nate", "payload": "by a program"}
        answer = await client.request("$AC.API.MESSAGE.SEND", json.dumps(message).encode())
        assert json.loads(answer.data)["seq"] == 3, answer.data
        await one.expect(type="channel_message", payload={"text": "by a program"})
        lines = [await line() for _ in range(5)]
        assert sorted(line.split()[0] for line in lines if line[0] != "{") == ["MSG", "MSG", "OK"]
        texts = [json.loads(line)["payload"]["text"] for line in lines if line[0] == "{"]
        assert texts == ["by hand", "by a program"], lines
    texts = []
    for _ in range(3):
        message = await heard_by_client.next_msg(timeout=PATIENCE)
        texts.append(json.loads(message.data)["payload"]["text"])
    assert texts == ["by an agent", "by hand", "by a program"], texts
    to_broker.close()
    await client.drain()


async def mixed():
    """Fifty of each kind share a queue and a channel."""
    many, tasks_each, said_each = 50, 5, 2
    names = [f"x{number}" for number in range(many)]
    tokens = [register(name) for name in names]
    call("POST", "/api/channels", tokens[0], {"name": "mixed"})
    natives = await asyncio.gather(*[Native().start(f"n{number}") for number in range(many)])
    done, heard = [], {name: [] for name in names}
    everything_heard = asyncio.Event()
    # Everybody hears what the others say, and knows what it said itself.
    texts = sorted(f"{name} {number}" for name in names for number in range(said_each))
    total = len(texts) * many

    async def live(name, token, ready, go):
        async with agent(name, token, capabilities=["mixed"]) as one:
            await one.say(type="channel_subscribe", channel="mixed")
            await one.until("channel_subscribed")
            ready.release()
            await go.wait()
            for number in range(said_each):
                text = f"{name} {number}"
                heard[name].append(text)
                await one.say(type="channel_publish", channel="mixed", payload={"text": text})
            while True:
                frame = await one.hear()
                if frame["type"] == "task_assign":
                    task, generation = frame["task_id"], frame["generation"]
                    done.append(frame["description"])
                    await one.say(type="task_complete", task_id=task, generation=generation)
                elif frame["type"] == "channel_message":
                    heard[name].append(frame["payload"]["text"])
                    if sum(map(len, heard.values())) >= total:
                        everything_heard.set()

    ready, go = asyncio.Semaphore(0), asyncio.Event()
    lives = [
        asyncio.create_task(live(name, token, ready, go)) for name, token in zip(names, tokens)
    ]
    for _ in names:
        await asyncio.wait_for(ready.acquire(), PATIENCE)
    go.set()

    def submit_share(token, share):
        return [submit(token, work, needed_capabilities=["mixed"]) for work in share]

    wanted = [f"work {number}" for number in range(2 * many * tasks_each)]
    loop = asyncio.get_running_loop()
    shares = [wanted[start::8] for start in range(8)]
    ids = await asyncio.gather(*[
        loop.run_in_executor(None, submit_share, tokens[number], share)
        for number, share in enumerate(shares)
    ])
    for task in sum(ids, []):
        await natives[0].ask("TASK.AWAIT", task=int(task[5:], 16), timeout_ms=PATIENCE * 1000)
    await asyncio.wait_for(everything_heard.wait(), PATIENCE)
    for native in natives:
        await native.client.drain()
        done += [json.loads(payload)["description"] for payload in native.done]
        assert sorted(native.heard) == texts, (native.name, len(native.heard))
    for one in lives:
        one.cancel()
    await asyncio.gather(*lives, return_exceptions=True)
    assert sorted(done) == sorted(wanted), (len(done), len(wanted))
    assert any(native.done for native in natives), "natives did nothing"
    assert len(done) > sum(len(native.done) for native in natives), "legacy agents did nothing"
    for name, found in heard.items():
        assert sorted(found) == texts, (name, len(found), len(texts))


async def restart():
    global HTTP
    token = register("h1")
    one = await websockets.connect(f"ws://{HTTP}/ws")
    here = Agent(one)
    await here.say(type="identify", agent_id="h1", token=token)
    await here.expect(type="identified")
    task = submit(token, "through it all", assign_to="h1")
    await here.expect(type="task_assign", task_id=task, generation=1)
    await here.say(type="task_accepted", task_id=task)
    await here.expect(type="task_ack", status="accepted")
    print("RESTART", flush=True)
    await here.expect_close(1000, "")
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    HTTP = line.split()[1]
    async with agent("h1", token) as here:
        await here.say(type="state_report", task_id=task, generation=1)
        await here.expect(type="state_report_ack", action="continue")
        await here.say(type="task_complete", task_id=task, generation=1)
        await here.expect(type="task_ack", task_id=task, status="complete")
    assert status_of(token, task) == "completed"


async def main():
    for case in [mistakes, presence, messages, channels, doors, tasks, reconnect, mixed, restart]:
        await case()
        print("ok", case.__name__, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
