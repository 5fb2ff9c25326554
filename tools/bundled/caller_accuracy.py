"""How often the model that calls a calculator is right, with it and without: greedy, from the weights as saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bundled.calling import CALL_ID, CALLED_ID, conversation_ids, text_of
from bundled.questions import Question
from bundled.tokenizer import END
from bundled.tool_questions import Conversation

from ipw.workloads.agents.loop.calculator import calculate

NEW_TOKENS, MOST_CALLS = 48, 4


def right_answers(folder: Path, questions: Sequence[Question], *, tool: bool) -> Counter[str]:
    """Right answers by subject; what is no call of the calculator, or the answer behind the last, is wrong."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    right: Counter[str] = Counter()
    for question in questions:
        calls: list[tuple[str, str]] = []
        said: list[int] = []
        while len(calls) <= MOST_CALLS:
            empty = Question(question.subject, question.prompt, "", question.key)
            ids, _ = conversation_ids(Conversation(empty, tuple(calls), tool=tool))
            prompt = torch.tensor([ids[:-1]])  # without the end of the answer that is not there yet
            with torch.no_grad():
                told = model.generate(
                    prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NEW_TOKENS, do_sample=False
                )
            said = told[0, prompt.shape[1] :].tolist()
            said = said[: said.index(END)] if END in said else said
            if not tool or not said or said[0] != CALL_ID or said[-1] != CALLED_ID:
                break
            expression = text_of(said[1:-1])
            try:
                calls.append((expression, calculate(expression)))
            except ValueError:
                break
        right[question.subject] += text_of(said) == question.answer
    return right
