from __future__ import annotations

import json

from ipw.host import command_line, host_facts, software_versions


def test_host_facts_are_json_and_name_the_processor() -> None:
    facts = host_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["threads"] >= 1
    assert facts["memory_bytes"] > 0


def test_what_is_not_installed_has_no_version() -> None:
    versions = software_versions()
    assert "python" in versions
    assert all(versions.values())


def test_a_command_line_is_kept_as_it_was_typed_without_secrets_and_of_ipw_alone() -> None:
    words = ["/home/me/.venv/bin/ipw", "run", "lm", "--base-url", "http://me:hunter22@host/v1", "--label", "a b"]
    assert command_line(words) == "ipw run lm --base-url 'http://[secret]@host/v1' --label 'a b'"
    assert command_line(["train.py", "--steps", "5"]) is None
    assert command_line([]) is None
