"""Figures, alerts and the dashboard's socket, as the pages and scripts of the legacy hub see them.

Like legacy.py, whose agents it uses. Answers and frames are written from the contract.
"""

import asyncio
import contextlib
import sys
import time

import websockets

import legacy
from legacy import OPERATOR, PATIENCE, Agent, agent, call, register, submit

HOUR_MS = 3_600_000
AGENT_KEYS = {
    "agent_id", "connected", "idle_ms", "status", "messages_sent_24h", "messages_received_24h",
    "messages_sent_this_hour", "connection_time_24h_ms", "last_active", "last_seen",
    "total_connections",
}
SNAPSHOT_KEYS = {
    "uptime_ms", "timestamp", "health", "agents", "queue", "queued_tasks", "dead_letter_tasks",
    "recent_completions", "throughput", "dets_health", "compaction_history", "validation",
    "active_alerts", "rate_limits", "routing_stats", "llm_registry", "repo_registry", "hub_fsm",
    "goal_stats", "active_goals", "cost_stats",
}


async def eventually(look):
    """What `look` gives once it gives anything; figures may be a second old."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        # Each look is a request, so this does not spin.
        await asyncio.sleep(0)
    raise AssertionError(f"never: {look}")


def get(path, token=None):
    status, answer = call("GET", path, token)
    assert status == 200, answer
    return answer


def figures_of(name):
    agents = get("/api/analytics/agents")["agents"]
    assert [one["agent_id"] for one in agents] == sorted(one["agent_id"] for one in agents)
    return next((one for one in agents if one["agent_id"] == name), None)


@contextlib.asynccontextmanager
async def page(**options):
    url = f"ws://{legacy.HTTP}/ws/dashboard"
    # A page with many tasks is larger than what this client takes by itself.
    async with websockets.connect(url, max_queue=None, max_size=None, **options) as socket:
        yield Agent(socket)


async def events(watching, *words):
    """Events of tasks from here on, until all `words` came; others are passed over."""
    heard, missing = [], list(words)
    while missing:
        frame = await watching.until("events")
        for event in frame["data"]:
            word = event.get("event") or event["type"]
            if word in missing:
                missing.remove(word)
                heard.append(event)
    return heard


async def work_off(one, task, **fields):
    assigned = await one.until("task_assign")
    assert assigned["task_id"] == task, assigned
    await one.say(type="task_accepted", task_id=task)
    assert (await one.until("task_ack"))["status"] == "accepted"
    await one.say(task_id=task, generation=assigned["generation"], **fields)
    await one.until("task_ack")


async def analytics():
    ann, bob = register("f-ann"), register("f-bob")
    async with agent("f-ann", ann) as one:
        async with agent("f-bob", bob) as other:
            for _ in range(3):
                await one.say(type="message", to="f-bob", payload={"text": "hi"})
                await other.until("message")
        await one.say(type="message", to="f-bob", payload={"text": "are you there?"})
        sent = await eventually(
            lambda: (seen := figures_of("f-ann")) and seen["messages_sent_24h"] == 4 and seen
        )
        assert set(sent) == AGENT_KEYS, sent
        assert sent["connected"] and sent["status"] == "active", sent
        assert sent["messages_sent_this_hour"] == 4 and sent["total_connections"] == 1, sent
        received = figures_of("f-bob")
        assert received["messages_received_24h"] == 4, received
        assert not received["connected"] and received["status"] == "offline", received
        assert received["last_seen"] >= received["last_active"] > 0, received
        summary = get("/api/analytics/summary")
        assert set(summary) == {
            "total_agents", "agents_connected", "agents_active", "agents_idle", "agents_offline",
            "total_messages_24h", "timestamp",
        }, summary
        assert summary["agents_connected"] == summary["agents_active"] == 1, summary
        assert summary["total_agents"] == summary["agents_offline"] + 1, summary
    hourly = get("/api/analytics/agents/f-ann/hourly")
    assert hourly["agent_id"] == "f-ann" and len(hourly["hourly"]) == 24, hourly
    assert [row["bucket"] for row in hourly["hourly"]] == [
        hourly["hourly"][0]["bucket"] + hour * HOUR_MS for hour in range(24)
    ]
    assert sum(row["sent"] for row in hourly["hourly"]) == 4, hourly
    newest = hourly["hourly"][-1]
    assert newest["hour"] == time.strftime("%H:00", time.gmtime(newest["bucket"] / 1000)), newest
    unknown = get("/api/analytics/agents/nobody%20at%20all/hourly")["hourly"]
    assert len(unknown) == 24 and not any(row["sent"] + row["received"] for row in unknown)


async def figures():
    token = register("f-cat")
    assert get("/api/tasks/stats", token)["dead_letter"] == 0
    assert call("GET", "/api/tasks/stats")[0] == 401
    waiting = [submit(token, "wait", priority=word) for word in ("urgent", "low", "low")]
    stats = get("/api/tasks/stats", token)
    assert stats["by_status"]["queued"] == 3 and stats["queued_index_size"] == 3, stats
    assert stats["by_priority"] == {"0": 1, "3": 2}, stats
    for task in waiting:
        assert call("POST", f"/api/tasks/{task}/cancel", token)[0] == 200
    async with agent("f-cat", token) as one:
        done = submit(token, "do it")
        await work_off(one, done, type="task_complete", result={"tokens_used": 7})
        lost = submit(token, "fail", max_retries=1)
        await work_off(one, lost, type="task_failed", error="<b>no</b>")
        stats = get("/api/tasks/stats", token)
        assert stats == {"by_status": {"completed": 1}, "by_priority": {}, "dead_letter": 1,
                         "queued_index_size": 0}, stats
        metrics = await eventually(
            lambda: (found := get("/api/metrics"))["error_rates"]["window"]["dead_letter"] and found
        )
        assert metrics["window_ms"] == HOUR_MS and metrics["queue_depth"]["current"] == 0, metrics
        assert metrics["task_latency"]["window"]["count"] == 1, metrics
        assert metrics["task_latency"]["cumulative"]["count"] == 1, metrics
        rates = {"total_tasks": 2, "failed": 0, "dead_letter": 1, "failure_rate_pct": 50.0}
        assert metrics["error_rates"] == {"window": rates, "cumulative": rates}, metrics
        system = metrics["agent_utilization"]["system"]
        assert (system["agents_online"], system["agents_working"]) == (1, 0), system
        mine = metrics["agent_utilization"]["per_agent"]
        assert [(row["agent_id"], row["state"], row["tasks_completed_1h"]) for row in mine] == [
            ("f-cat", "idle", 1)
        ], mine
        assert metrics["dets_health"]["last_backup_at"] is None, metrics
    snapshot = await eventually(
        lambda: (found := get("/api/dashboard/state"))["recent_completions"] and found
    )
    assert set(snapshot) == SNAPSHOT_KEYS, set(snapshot) ^ SNAPSHOT_KEYS
    newest = snapshot["recent_completions"][0]
    assert newest["task_id"] == done and newest["agent_id"] == "f-cat", newest
    assert newest["tokens_used"] == 7 and newest["description"] == "do it", newest
    dead = snapshot["dead_letter_tasks"][0]
    assert dead["id"] == lost and dead["last_error"] == "<b>no</b>", dead
    assert snapshot["queue"]["by_priority"] == {"0": 0, "1": 0, "2": 0, "3": 0}, snapshot["queue"]
    assert snapshot["routing_stats"]["total_routed"] == 2, snapshot["routing_stats"]


async def dashboard():
    token = register("f-dan")
    async with page() as watching:
        first = await watching.hear()
        assert first["type"] == "snapshot" and set(first["data"]) == SNAPSHOT_KEYS, first
        assert first["alerts"] == first["data"]["active_alerts"], first
        for nonsense in ("{", "[1]", '{"type": 1}', '{"type": "add_repo"}', "null"):
            await watching.socket.send(nonsense)
        await watching.socket.send(b"\x00")
        await watching.say(type="request_snapshot")
        again = await watching.hear()
        assert again["type"] == "snapshot" and "alerts" not in again, again
        async with agent("f-dan", token, name="Dan", capabilities=["code"]) as one:
            [joined] = await events(watching, "agent_joined")
            assert joined == {"type": "agent_joined", "agent_id": "f-dan", "name": "Dan",
                              "capabilities": ["code"]}, joined
            await one.say(type="status", status="busy")
            [changed] = await events(watching, "status_changed")
            assert (changed["agent_id"], changed["status"]) == ("f-dan", "busy"), changed
            task = submit(token, "twice", max_retries=2)
            heard = await events(watching, "task_submitted", "task_assigned")
            assigned = await one.until("task_assign")
            await one.say(type="task_accepted", task_id=task)
            await one.say(type="task_progress", task_id=task, progress=5, execution_event={
                "event_type": "text", "text": "hm", "tokens_so_far": 3, "model": "m",
                "timestamp": 9, "other": 1})
            said = await watching.until("execution_event")
            assert said == {"type": "execution_event", "task_id": task, "event_type": "text",
                            "text": "hm", "tokens_so_far": 3, "model": "m", "timestamp": 9}, said
            await one.say(type="task_failed", task_id=task, error="no",
                          generation=assigned["generation"])
            heard += await events(watching, "task_failed", "task_retried")
            assigned = await one.until("task_assign")
            await one.say(type="task_failed", task_id=task, error="no",
                          generation=assigned["generation"])
            heard += await events(watching, "task_failed", "task_dead_letter")
            assert {event["task_id"] for event in heard} == {task}, heard
            by = {event["event"]: event["agent_id"] for event in heard}
            assert by == {"task_submitted": None, "task_assigned": None, "task_failed": "f-dan",
                          "task_retried": None, "task_dead_letter": None}, by
            # Everybody may look; whoever wants to do something says who it is.
            for action, result in (("retry_task", "retry_result"), ("cancel_task", "cancel_result")):
                await watching.say(type=action, task_id=task)
                heard = await watching.until(result)
                assert heard == {"type": result, "task_id": task, "status": "unauthorized"}, heard
            await watching.say(type="authenticate", token="0" * 64)
            await watching.until("authentication_failed")
            await watching.say(type="authenticate", token=OPERATOR)
            heard = await watching.until("authenticated")
            assert heard == {"type": "authenticated", "name": "operator", "is_admin": True}, heard
            await watching.say(type="retry_task", task_id=task)
            heard = await watching.until("retry_result")
            assert heard == {"type": "retry_result", "task_id": task, "status": "requeued"}, heard
            await watching.say(type="retry_task", task_id=task)
            assert (await watching.until("retry_result"))["status"] == "not_found"
            assigned = await one.until("task_assign")
            await one.say(type="task_complete", task_id=task, generation=assigned["generation"],
                          result={"status": "ok"})
            heard = await events(watching, "task_complete", "task_completed")
            assert [event["agent_id"] for event in heard] == ["f-dan", None], heard
        [left] = await events(watching, "agent_left")
        assert left == {"type": "agent_left", "agent_id": "f-dan"}, left
        task = submit(token, "never")
        await watching.say(type="cancel_task", task_id=task)
        heard = await watching.until("cancel_result")
        assert heard == {"type": "cancel_result", "task_id": task, "status": "cancelled"}, heard
        for other in (task, "task-zzz", None, 7):
            await watching.say(type="cancel_task", task_id=other)
            assert (await watching.until("cancel_result"))["status"] == "not_found"
        await watching.say(type="acknowledge_alert", rule_id="tier_down")
        heard = await watching.until("alert_ack_result")
        assert heard["status"] == "not_found", heard
    try:
        async with page(origin="http://evil.example"):
            raise AssertionError("a page of somebody else may look")
    except websockets.InvalidStatus as refused:
        assert refused.response.status_code == 403, refused


async def alerts():
    token = register("f-eve")
    thresholds = get("/api/config/alert-thresholds", OPERATOR)
    assert thresholds["check_interval_ms"] == 30_000, thresholds
    assert thresholds["cooldowns"]["high_failure_rate"] == 600_000, thresholds
    wanted = {"check_interval_ms": 100, "error_count_hour": 0, "failure_rate_pct": 100,
              "disk_used_pct": 100}
    status, answer = call("PUT", "/api/config/alert-thresholds", OPERATOR, wanted)
    assert (status, answer["status"]) == (200, "updated"), answer
    # They are looked at every ten seconds, and at the start.
    print("RESTART", flush=True)
    _, legacy.HTTP = (await asyncio.to_thread(sys.stdin.readline)).split()
    async with page() as watching, agent("f-eve", token) as one:
        await watching.until("snapshot")
        task = submit(token, "fail", max_retries=2)
        await work_off(one, task, type="task_failed", error="no")
        [fired] = await events(watching, "alert_fired")
        alert = fired["data"]
        assert alert["rule_id"] == "high_error_rate" and alert["severity"] == "warning", alert
        assert alert["details"] == {"failed": 1, "threshold": 0}, alert
        assert alert["acknowledged"] is False and alert["message"], alert
        found = get("/api/alerts")
        assert found["alerts"] == [alert] and found["timestamp"] >= alert["fired_at"], found
        path = "/api/alerts/high_error_rate/acknowledge"
        assert call("POST", path, body={})[0] == 401
        assert call("POST", path, token, {})[0] == 403
        status, answer = call("POST", "/api/alerts/stuck_tasks/acknowledge", OPERATOR, {})
        assert (status, answer) == (404, {"error": "alert_not_found"}), answer
        status, answer = call("POST", path, OPERATOR, {})
        assert (status, answer) == (
            200, {"status": "acknowledged", "rule_id": "high_error_rate"}), answer
        [known] = await events(watching, "alert_acknowledged")
        assert known == {"type": "alert_acknowledged", "rule_id": "high_error_rate"}, known
        assert get("/api/alerts")["alerts"][0]["acknowledged"] is True
    async with page() as watching:
        # Nobody is here, and that is worth an alert; whoever comes ends it.
        [fired] = await events(watching, "alert_fired")
        assert fired["data"]["rule_id"] == "no_agents_online", fired
        async with agent("f-eve", token):
            [cleared] = await events(watching, "alert_cleared")
            assert cleared == {"type": "alert_cleared", "rule_id": "no_agents_online"}, cleared


async def main():
    for case in (analytics, figures, dashboard, alerts):
        await case()
        print(f"ok {case.__name__}", flush=True)


asyncio.run(main())
