"""Agent CLIs as clients, each in front of a model of another dialect: a file is read and edited.

The model follows a script: it thinks and asks for the file, sees it, asks for the edit, sees that it
worked, and says so. What is on disk at the end is what counts, and that the model saw what the CLI
sent and the CLI what the model said.
"""

import pytest

from harness import agents, model
from harness.upstream import answer
from harness.weir import alias, config, provider, virtual_key

pytestmark = pytest.mark.http1("large, and the SDKs say the same")

SCHEMAS = {
    "openai_chat": lambda body: {
        t["function"]["name"]: t["function"]["parameters"] for t in body.get("tools") or []
    },
    "anthropic": lambda body: {
        t["name"]: t["input_schema"] for t in body.get("tools") or [] if "input_schema" in t
    },
    "bedrock": lambda body: {
        t["toolSpec"]["name"]: t["toolSpec"]["inputSchema"]["json"]
        for t in (body.get("toolConfig") or {}).get("tools", [])
        if "toolSpec" in t
    },
}


def scripted(kind, turns):
    """A model of that kind that makes these calls, one an answer, and then says that it is done."""

    class Scripted(kind):
        def decide(self, asked, body):
            if not asked.tools:
                return model.Reply(text="Greeting")  # asked for a title or the like
            turn = len(asked.results)
            if turn == len(turns):
                return model.Reply(text=agents.DONE)
            name, arguments = turns[turn]
            schema = SCHEMAS[self.dialect](body)[name]
            assert set(arguments) <= set(schema["properties"]), schema
            assert set(schema.get("required", [])) <= set(arguments), schema
            thought = agents.THOUGHT if turn == 0 else ""
            return model.Reply(calls=[(f"call_Turn{turn}", name, arguments)], thought=thought)

    return Scripted()


CASES = [
    (agents.ClaudeCode, model.OpenAIChat, "claude-sonnet-4-5"),
    (agents.ClaudeCode, model.OpenAIChat, "in-house"),
    (agents.Codex, model.Anthropic, "in-house"),
    (agents.Codex, model.Anthropic, "gpt-5.5"),
    (agents.GeminiCli, model.Bedrock, "gemini-2.5-pro"),
    (agents.GeminiCli, model.Bedrock, "in-house"),
]


@pytest.fixture(
    params=CASES,
    ids=lambda case: f"{case[0].__name__}-{case[2]}-to-{case[1].dialect}",
)
def loop(request, tmp_path, make_weir, make_upstream):
    """(the CLI, what it said, the model behind weir, weir) after the CLI ended well."""
    kind, behind, name = request.param
    agents.modules()
    upstream, elsewhere = make_upstream(), make_upstream(answer({}, 403))
    row = provider(
        upstream.url,
        dialect=behind.dialect,
        paths=behind.paths,
        auth={"kind": "bearer"},
        quirks={"reasoning_field": "reasoning_content"},
    )
    weir = make_weir(
        config(
            {"up": row},
            models={name: alias("up/claude-sonnet-4-5")},
            keys=[virtual_key("agent", value=agents.KEY)],
        )
    )
    agent = kind(tmp_path, weir.url, elsewhere.url, name)
    upstream.handler = scripted(behind, agent.turns())
    done = agent.run()
    assert done.returncode == 0, done.stdout
    asked_elsewhere = [r.target for r in elsewhere.requests]
    assert not asked_elsewhere, asked_elsewhere
    return agent, done.stdout, upstream.handler, weir


def test_the_right_file_is_on_disk(loop):
    agent, said, behind, weir = loop
    assert agent.file.read_text(encoding="utf-8") == agents.AFTER, said
    assert agents.DONE in said
    talks = [asked for asked, _, _ in behind.asked if asked.tools]
    assert [len(asked.results) for asked in talks] == [0, 1, 2]
    assert agents.TASK in talks[0].text
    assert 'say("Hello, old world\\n");  # $HOME' in talks[1].results[0]
    assert [p.name for p in agent.work.iterdir()] == [agents.FILE]
    entries = weir.log_entries(len(behind.asked), operation="chat")
    assert {e["status"] for e in entries} == {200}
