"""What holds for every test: other load of the machine is not told unless the test says so, and it fails no test."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ["IPW_PROC"] = "/nonexistent/proc"

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("the same everywhere", patient, derandomize=True, max_examples=50)
settings.register_profile("explore", patient)
settings.load_profile("the same everywhere")
