"""How often agents may send frames over a WebSocket, as the contract's 4.8 has it.

The broker is one with the limits that it has by itself.
"""

import asyncio

from legacy import agent, call, register, status_of, submit


async def rates():
    token = register("r1")
    async with agent("r1", token) as one:
        # Ten identifications in a row; the first one is not counted.
        for number in range(10):
            await one.say(type="identify", agent_id="r1", token=token)
            heard = await one.hear()
            if number >= 8:
                assert heard == {"type": "rate_limit_warning", "tier": "heavy",
                                 "remaining": 9 - number, "capacity": 10}, (number, heard)
                heard = await one.hear()
            assert heard["type"] == "identified", (number, heard)
        await one.say(type="identify", agent_id="r1", token=token)
        heard = await one.hear()
        assert (heard["type"], heard["tier"]) == ("rate_limited", "heavy"), heard
        assert 1000 <= heard["retry_after_ms"] <= 6000, heard
        # A message is one too many after a hundred, and dropped.
        many = 130
        for _ in range(many):
            await one.say(type="message", to="nobody", payload={})
        heard = {"message_sent": 0, "rate_limit_warning": 0, "rate_limited": 0}
        while heard["message_sent"] + heard["rate_limited"] < many:
            frame = await one.hear()
            heard[frame["type"]] += 1
            if frame["type"] == "rate_limited":
                assert frame["tier"] == "normal" and frame["retry_after_ms"] == 1000, frame
        assert heard["message_sent"] >= 100 and heard["rate_limited"] > 0, heard
        assert heard["rate_limit_warning"] >= 15, heard
        # It gets no work now. Another one does, and whatever a task needs is counted and never denied.
        other_token = register("r2")
        async with agent("r2", other_token) as other:
            for _ in range(150):
                await other.say(type="task_progress", task_id="task-0000000000000001", progress=1)
            task = submit(token, "do it")
            assigned = await other.until("task_assign")
            await other.say(type="task_complete", task_id=task,
                            generation=assigned["generation"])
            assert (await other.until("task_ack"))["status"] == "complete"
            assert status_of(token, task) == "completed"
        # By now there were too many frames of any kind.
        for _ in range(200):
            await one.say(type="ping")
        heard = await one.until("rate_limited")
        assert heard["tier"] in ("normal", "light"), heard
    assert call("GET", "/health")[0] == 200


asyncio.run(rates())
print("ok rates", flush=True)
