"""A worker on nats-py: python worker.py nats://127.0.0.1:4222 resize alice"""
import asyncio, json, sys
import nats
async def main(server, queue, agent):
    held = {}  # What is being worked on: task -> generation.

    async def ask(verb, **body):
        message = await client.request("$AC.API." + verb, json.dumps(body).encode(), timeout=10)
        answer = json.loads(message.data)
        if "error" in answer:
            raise RuntimeError(answer["error"]["sentence"])
        return answer

    async def attach():  # Whoever comes back names what it holds; anything else is lost.
        holding = [{"task": task, "generation": number} for task, number in held.items()]
        start = {"agent": agent, "queues": [queue], "credit": 4, "holding": holding}
        answer = await ask("WORKER.START", deliver=inbox, **start)
        for lease in answer.get("stopped", []):
            held.pop(lease["task"], None)

    async def work(offer):
        lease = {"task": offer["task"], "generation": offer["generation"]}
        held[offer["task"]] = offer["generation"]
        await ask("TASK.ACCEPT", **lease)
        await ask("TASK.COMPLETE", result=offer["payload"].upper(), **lease)  # The work.
        held.pop(offer["task"], None)

    async def pushed(message):
        push = json.loads(message.data)
        if push["type"] == "offer":
            asyncio.create_task(work(push))

    client = await nats.connect(server, max_reconnect_attempts=-1, reconnected_cb=attach)
    inbox = client.new_inbox()
    await client.subscribe(inbox, cb=pushed)
    await attach()
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
