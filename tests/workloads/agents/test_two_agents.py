"""Two scripted agents at once, whose structure is known, are told apart through the gateway without an error."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from aiohttp import ClientSession, web
from workloads.agents.test_gateway import Books, gateway

from ipw.workloads.agents.asked import Asked
from ipw.workloads.agents.structure import structure

TASKS = 20
SYSTEM = {"role": "system", "content": "You solve puzzles."}
Message = dict[str, Any]


class Puzzler:
    """A server whose answers are all different, call tools by turns, and fail now and then; some ids are the same."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.answers = 0

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(self.random.random() * 0.01)
        if self.random.random() < 0.1:
            return web.json_response({"error": {"message": "busy"}}, status=503)
        self.answers += 1
        message: Message = {"role": "assistant", "content": f"answer {self.answers}"}
        if len(body["messages"]) % 2 == 0 or self.random.random() < 0.5:
            names = self.random.sample(["search", "run", "read"], self.random.choice([1, 1, 2]))
            message["tool_calls"] = [
                {"id": f"call_{self.answers}_{i}", "type": "function", "function": {"name": name, "arguments": "{}"}}
                for i, name in enumerate(names)
            ]
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}})


class Agent:
    """Solves its tasks several at once: tools, forks, and trying again what failed. It keeps books of what it does."""

    def __init__(self, name: str, seed: int, url: str, session: ClientSession) -> None:
        self.name, self.url, self.session = name, url, session
        self.random = random.Random(seed)
        self.books: list[tuple[str, str | None, str, list[str]]] = []
        """Of each answer: its task, the answer that it continues, its text and the tools that it asks for."""
        self.tries = 0

    async def all(self) -> None:
        free = asyncio.Semaphore(5)

        async def one(number: int) -> None:
            async with free:
                # each puzzle is asked by both agents in the same words
                await self.turn(
                    f"{self.name} {number}", [SYSTEM, {"role": "user", "content": f"puzzle {number}"}], None, 0
                )

        await asyncio.gather(*(one(number) for number in range(TASKS)))

    async def turn(self, task: str, history: list[Message], before: str | None, depth: int) -> None:
        message = await self.ask(history)
        tools = [call["function"]["name"] for call in message.get("tool_calls", ())]
        self.books.append((task, before, message["content"], tools))
        if depth >= 3:
            return
        history = [*history, message]
        if tools:
            await asyncio.sleep(self.random.random() * 0.02)
            results = [
                {"role": "tool", "tool_call_id": call["id"], "content": "found"} for call in message["tool_calls"]
            ]
            history += results
        branches = self.random.choice([1, 1, 1, 2])
        more = [[{"role": "user", "content": f"way {i}"}] if branches > 1 or not tools else [] for i in range(branches)]
        await asyncio.gather(*(self.turn(task, [*history, *each], message["content"], depth + 1) for each in more))

    async def ask(self, history: list[Message]) -> Message:
        while True:
            self.tries += 1
            async with self.session.post(self.url, json={"model": "m", "messages": history}) as answer:
                found = await answer.json()
                if answer.status == 200:
                    message: Message = found["choices"][0]["message"]
                    return message


@pytest.mark.parametrize("seed", [1, 2])
def test_turns_tools_and_tasks_of_two_agents_are_told_apart(seed: int) -> None:
    books = Books()
    agents: list[Agent] = []

    async def play() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", Puzzler(seed).answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with gateway(port, books) as own, ClientSession() as one, ClientSession() as other:
                url = f"http://127.0.0.1:{own}/v1/chat/completions"
                agents.extend([Agent("a", seed, url, one), Agent("b", seed + 10, url, other)])
                await asyncio.gather(*(agent.all() for agent in agents))
        finally:
            await runner.cleanup()

    asyncio.run(play())
    records = [record for _, record in books.lines]
    assert len(records) == sum(agent.tries for agent in agents)
    found = structure([Asked.from_record(record) for record in records])
    by_text = {record["response"]: number for number, record in enumerate(records) if record["status"] == "ok"}
    tasks: dict[str, set[str | None]] = defaultdict(set)
    for agent in agents:
        for task, before, text, tools in agent.books:
            number = by_text[text]
            place = found.places[number]
            parent = None if place.parent is None else records[place.parent]["response"]
            assert parent == before
            assert [call.name for call in found.calls if call.request == number] == tools
            tasks[task].add(found.tasks[number])
    assert all(len(names) == 1 for names in tasks.values())
    assert len({name for names in tasks.values() for name in names}) == 2 * TASKS
    failed = {number for number, record in enumerate(records) if record["status"] != "ok"}
    assert failed
    assert found.retried() == failed
    for gap in found.gaps:
        assert gap.start_ns == records[gap.request]["end_ns"] <= gap.end_ns == records[gap.until]["start_ns"]
