"""nats-py against a broker: prints "ok CASE" for each case, or ends with the failed assertion.

How it finds its brokers and asks for a restart: see ../script.rs.
"""

import asyncio
import json
import os
import pathlib
import sys

import nats
from nats.errors import NoRespondersError

OPEN = "nats://" + os.environ["AGENTCOM_OPEN"]
TOKEN = "nats://" + os.environ["AGENTCOM_TOKEN"]
USERS = "nats://" + os.environ["AGENTCOM_USERS"]


async def take(subscription, count):
    """The data of the next `count` messages."""
    return [(await subscription.next_msg(timeout=5)).data for _ in range(count)]


async def settle(client):
    """Wait until the broker has dealt with all that `client` sent.

    Its own flush() is no such thing: the PING overtakes publishes that are still in its buffer.
    """
    inbox = client.new_inbox()
    own = await client.subscribe(inbox)
    await client.publish(inbox, b"")
    await take(own, 1)
    await own.unsubscribe()


async def publish_and_subscribe():
    publisher, subscriber = await nats.connect(OPEN), await nats.connect(OPEN)
    subscription = await subscriber.subscribe("orders.new")
    await settle(subscriber)
    sent = [b"%d" % number for number in range(1000)]
    for data in sent:
        await publisher.publish("orders.new", data)
    assert await take(subscription, 1000) == sent
    await subscription.unsubscribe()
    await publisher.close()
    await subscriber.close()


async def wildcards():
    client = await nats.connect(OPEN)
    one = await client.subscribe("a.*")
    tail = await client.subscribe("a.>")
    for subject in ("a", "a.b", "a.b.c", "b.b"):
        await client.publish(subject, subject.encode())
    await settle(client)
    assert await take(one, 1) == [b"a.b"] and one.pending_msgs == 0
    assert await take(tail, 2) == [b"a.b", b"a.b.c"] and tail.pending_msgs == 0
    await client.close()


async def queue_groups():
    clients = [await nats.connect(OPEN) for _ in range(3)]
    members = [await client.subscribe("jobs", queue="workers") for client in clients[:2]]
    for client in clients:
        await settle(client)
    for _ in range(100):
        await clients[2].publish("jobs", b"job")
    for client in reversed(clients):
        await settle(client)
    shares = [member.pending_msgs for member in members]
    assert sum(shares) == 100 and all(shares), shares
    for client in clients:
        await client.close()


async def request_and_reply():
    service, client = await nats.connect(OPEN), await nats.connect(OPEN)

    async def answer(message):
        await message.respond(message.data.upper())

    await service.subscribe("service", cb=answer)
    await settle(service)
    replies = await asyncio.gather(
        *(client.request("service", b"n%d" % number, timeout=5) for number in range(100))
    )
    assert [reply.data for reply in replies] == [b"N%d" % number for number in range(100)]
    old = await client.request("service", b"old", timeout=5, old_style=True)
    assert old.data == b"OLD"
    await service.close()
    await client.close()


async def no_responders():
    client = await nats.connect(OPEN)
    try:
        await client.request("nobody", b"hello?", timeout=5)
        raise AssertionError("somebody answered")
    except NoRespondersError:
        pass
    await client.close()


async def headers():
    client = await nats.connect(OPEN)
    subscription = await client.subscribe("h")
    sent = {"Trace-Id": "7f", "trace-id": "x: y", "Empty": ""}
    await client.publish("h", b"body", headers=sent)
    message = await subscription.next_msg(timeout=5)
    assert message.data == b"body" and message.headers["Trace-Id"] == "7f", message.headers
    assert message.headers["trace-id"] == "x: y", message.headers
    await client.close()


async def big_payloads():
    client = await nats.connect(OPEN)
    assert client.max_payload == 1024 * 1024
    subscription = await client.subscribe("big")
    data = os.urandom(client.max_payload)
    await client.publish("big", data)
    assert await take(subscription, 1) == [data]
    await client.publish("big", data[:-100], headers={"Size": "big"})
    assert await take(subscription, 1) == [data[:-100]]
    await client.close()


async def drain():
    client, publisher = await nats.connect(OPEN), await nats.connect(OPEN)
    seen = []

    async def slowly(message):
        await asyncio.sleep(0)
        seen.append(message.data)

    await client.subscribe("d", cb=slowly)
    await settle(client)
    for _ in range(500):
        await publisher.publish("d", b"x")
    await settle(publisher)
    await client.drain()
    assert len(seen) == 500 and client.is_closed, len(seen)
    await publisher.close()


async def let_in(url, **credentials):
    client = await nats.connect(url, allow_reconnect=False, **credentials)
    await settle(client)
    await client.close()


async def kept_out(url, **credentials):
    async def ignore(_error):
        pass

    try:
        await let_in(url, error_cb=ignore, **credentials)
    except nats.errors.Error as error:
        assert "authorization violation" in str(error).lower(), repr(error)
    else:
        raise AssertionError("let in with %r" % credentials)


async def token():
    await let_in(TOKEN, token="secret")
    await kept_out(TOKEN, token="wrong")
    await kept_out(TOKEN)


async def user_and_password():
    await let_in(USERS, user="alice", password="pw")
    await kept_out(USERS, user="alice", password="wrong")
    await kept_out(USERS, user="bob", password="pw")


async def reconnect():
    back = asyncio.Event()

    async def reconnected():
        back.set()

    async def ignore(_error):
        pass

    client = await nats.connect(
        OPEN,
        reconnected_cb=reconnected,
        error_cb=ignore,
        reconnect_time_wait=0.05,
        max_reconnect_attempts=-1,
    )
    subscription = await client.subscribe("r.*")
    await client.publish("r.1", b"before")
    assert await take(subscription, 1) == [b"before"]
    print("RESTART", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.wait_for(back.wait(), 10)
    await client.publish("r.2", b"after")
    assert await take(subscription, 1) == [b"after"]
    await client.close()


async def example_worker():
    """The worker of docs/examples does tasks, and again after the broker was gone for a while."""
    script = pathlib.Path(__file__).parents[3] / "docs" / "examples" / "worker.py"
    worker = await asyncio.create_subprocess_exec(sys.executable, script, OPEN, "shout", "alice")
    await shout("hello")
    print("RESTART", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await shout("still there")
    worker.kill()
    await worker.wait()


async def shout(text):
    """Submit a task, and wait until the worker has done it."""
    client = await nats.connect(OPEN)

    async def ask(verb, **body):
        data = json.dumps(body).encode()
        return json.loads((await client.request("$AC.API." + verb, data, timeout=20)).data)

    task = (await ask("TASK.SUBMIT", queue="shout", payload=text))["task"]
    view = await ask("TASK.AWAIT", task=task, timeout_ms=15000)
    assert view["state"] == "completed" and view["result"] == text.upper(), view
    await client.close()


async def main():
    for case in ([example_worker] if sys.argv[1:] == ["worker"] else CLIENT):
        await asyncio.wait_for(case(), 30)
        print("ok", case.__name__.replace("_", " "), flush=True)


CLIENT = (
    publish_and_subscribe,
    wildcards,
    queue_groups,
    request_and_reply,
    no_responders,
    headers,
    big_payloads,
    drain,
    token,
    user_and_password,
    reconnect,
)

asyncio.run(main())
