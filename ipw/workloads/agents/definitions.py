"""What each figure of agents means. Ratios are sums over tasks, so that a long task weighs as much as it took."""

from __future__ import annotations

from ipw.metrics.definitions import Definition

WHOLE = "turns, tools and pauses"

DEFINITIONS = (
    Definition("tasks", "Tasks", "tasks", "", "tasks with a request"),
    Definition(
        "energy_per_task_j", "Energy per task", "J", "lower", f"joules of tasks ({WHOLE}) / tasks", energy=True
    ),
    Definition(
        "energy_per_solved_task_j", "Energy per solved task", "J", "lower",
        "joules of all scored tasks / sum of their scores: what failed is paid by what was solved",
        energy=True,
    ),
    Definition(
        "net_energy_per_task_j", "Net energy per task", "J", "lower", "the same without idle power",
        energy=True,
    ),
    Definition("task_accuracy", "Tasks solved", "", "higher", "mean score of the scored tasks"),
    Definition(
        "task_accuracy_per_joule", "Tasks solved per joule (IPJ)", "1/J", "higher", "mean score / joules of a task",
        energy=True,
    ),
    Definition(
        "task_accuracy_per_watt", "Tasks solved per watt (IPW)", "1/W", "higher",
        "mean score / mean over tasks of their mean power; rewards slowness, so read it beside IPJ and time",
        energy=True,
    ),
    Definition(
        "energy_per_turn_j", "Energy per turn", "J", "lower", "joules of requests of tasks / turns",
        energy=True,
    ),
    Definition(
        "energy_per_tool_call_j", "Energy per tool call", "J", "lower",
        "joules between an answer that asks for tools and the next request / calls that a request followed",
        energy=True,
    ),
    Definition(
        "tool_energy_share", "Energy of tools", "", "lower", "joules of tools / joules of tasks",
        energy=True,
    ),
    Definition(
        "pause_energy_share", "Energy of pauses", "", "lower", "joules of pauses / joules of tasks",
        energy=True,
    ),
    Definition(
        "failed_energy_share", "Energy of failed requests", "", "lower", "joules of failed requests / joules of tasks",
        energy=True,
    ),
    Definition(
        "repeated_tool_energy_share", "Energy of repeated calls", "", "lower",
        "joules of calls of tools that were asked for before with the same arguments / joules of tasks",
        energy=True,
    ),
    Definition(
        "babbling_energy_share", "Energy after the answer", "", "lower",
        "joules after an answer was complete / joules of the answers that show where they were complete",
        energy=True,
    ),
    Definition("turns_per_task", "Turns per task", "turns", "lower", "turns / tasks"),
    Definition("tool_calls_per_task", "Tool calls per task", "calls", "lower", "calls of tools / tasks"),
    Definition("task_s", "Time per task", "s", "lower", "seconds from a task's first request to its last answer"),
    Definition("tokens_per_task", "Tokens per task", "tokens", "lower", "tokens of prompts and answers / tasks"),
    Definition(
        "resent_token_share", "Tokens sent again", "", "lower",
        "tokens of prompts that were sent or said in the turn before / tokens of prompts",
    ),
    Definition("cached_token_share", "Tokens from a cache", "", "higher", "cached tokens / tokens of prompts"),
    Definition("context_growth", "Context growth", "times", "lower", "tokens of the longest prompt / of the first"),
    Definition(
        "task_energy_spread", "Spread between repeats", "", "lower",
        "standard deviation / mean of the joules of tasks that began alike, within such groups",
        energy=True,
    ),
)  # fmt: skip
