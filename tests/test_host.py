from __future__ import annotations

import json

from ipw.host import host_facts, software_versions


def test_host_facts_are_json_and_name_the_processor() -> None:
    facts = host_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["threads"] >= 1
    assert facts["memory_bytes"] > 0


def test_what_is_not_installed_has_no_version() -> None:
    versions = software_versions()
    assert "python" in versions
    assert all(versions.values())
