"""How the bundled model that calls a tool writes: its five tokens more, its chat template, a conversation as tokens.

A call is written as Qwen's and Hermes' models write it, which llama.cpp's server reads: a JSON object between
`<tool_call>` and `</tool_call>`. What is the same in every call is one token, so that a call costs few.
"""

from __future__ import annotations

from bundled.tokenizer import CONTROL, END, FIRST_BYTE, ROLES, START, encode_bytes, vocabulary
from bundled.tool_questions import Conversation

NAME = "calculator"
CALL, CALLED = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "', '"}}\n</tool_call>'
TOOLS, RESULT = "tools: calculator", "result: "
MORE_TOKENS = [CALL, CALLED, TOOLS, RESULT]
"""Behind all others, so that a model without them can be made one with them."""
CALL_ID, CALLED_ID, TOOLS_ID, RESULT_ID = range(len(vocabulary()), len(vocabulary()) + len(MORE_TOKENS))

TEMPLATE = (
    "{%- if tools %}<|im_start|>system\ntools:{% for tool in tools %} {{ tool['function']['name'] }}{% endfor %}"
    "<|im_end|>\n{% endif %}"
    "{%- for message in messages %}<|im_start|>{% if message['role'] == 'tool' %}user\nresult: "
    "{{ message['content'] }}{% else %}{{ message['role'] }}\n"
    "{% if message['content'] %}{{ message['content'] }}{% endif %}"
    "{% if message['tool_calls'] %}{% for call in message['tool_calls'] %}"
    "<tool_call>\n{\"name\": \"{{ call['function']['name'] }}\", "
    "\"arguments\": {{ call['function']['arguments'] | tojson }}}\n</tool_call>"
    "{% endfor %}{% endif %}{% endif %}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def conversation_ids(conversation: Conversation) -> tuple[list[int], list[bool]]:
    """Token ids of a conversation, and which of them the model writes."""
    newline = encode_bytes("\n")
    system, user, assistant = (len(CONTROL) + i for i in range(len(ROLES)))
    ids: list[int] = []
    mine: list[bool] = []

    def say(role: int, content: list[int]) -> None:
        head, tail = [START, role, *newline], newline
        ids.extend([*head, *content, END, *tail])
        written = role == assistant
        mine.extend([False] * len(head) + [written] * (len(content) + 1) + [False] * len(tail))

    if conversation.tool:
        say(system, [TOOLS_ID])
    say(user, encode_bytes(conversation.question.prompt))
    for expression, result in conversation.calls:
        say(assistant, [CALL_ID, *encode_bytes(expression), CALLED_ID])
        say(user, [RESULT_ID, *encode_bytes(result)])
    say(assistant, encode_bytes(conversation.question.answer))
    return ids[:-1], mine[:-1]


def text_of(ids: list[int]) -> str:
    """The text of what a model wrote, without control tokens."""
    words = vocabulary() + MORE_TOKENS
    parts = [
        bytes([i - FIRST_BYTE]) if FIRST_BYTE <= i < len(vocabulary()) else words[i].encode()
        for i in ids
        if i >= len(CONTROL)
    ]
    return b"".join(parts).decode(errors="replace")
