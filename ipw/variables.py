"""Names that more than one part of ipw reads or sets: variables of the environment, and the headers of a gateway."""

from __future__ import annotations

OPENAI_KEY, OPENAI_URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"
JUDGE_KEY = "IPW_JUDGE_KEY"
GATEWAY_URL, GATEWAY_TOKEN, TASK_FILE = "IPW_GATEWAY_URL", "IPW_GATEWAY_TOKEN", "IPW_TASK_FILE"
"""What a program behind a gateway finds; and what lets clients of other machines in."""
TASK_HEADER, TOKEN_HEADER = "x-ipw-task", "x-ipw-token"
