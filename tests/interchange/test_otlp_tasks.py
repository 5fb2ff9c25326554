"""Runs of agents as traces: a trace a task, with its turns and tools, linked to the run; and how they are sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer
from typing import Any

import pytest
from click.testing import CliRunner
from workloads.agents.test_joules import one_agent, write

from ipw.errors import INTERRUPTED, IpwError, UsageError
from ipw.interchange.exports import StoredRun
from ipw.interchange.otlp_send import endpoint, headers_of, send_traces
from ipw.interchange.to_otlp import as_otlp
from ipw.pipeline import derive
from ipw.runs.directory import RunDir
from ipw.verbs.common.conclude import conclude
from ipw.verbs.export import command

WALL_NS = 10**18
RUNS = ("lm", "agent", "train", "routing", "diffusion")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    records = one_agent()
    records[1]["agent"]["messages"][2][5] = records[1]["agent"]["messages"][2][4]  # the result says that it failed
    made = write(tmp_path_factory.mktemp("traces"), records, [(0, 100.0, 12, 14), (1, 50.0, 14, 20)])
    made.update_manifest(anchors=[[0, WALL_NS]])
    derive(made)
    return made


def document(run: RunDir) -> str:
    return as_otlp([StoredRun(run.manifest(), run.summary() or {}, run)])


def told(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def spans_of(text: str) -> list[dict[str, Any]]:
    return [span for resource in json.loads(text)["resourceSpans"] for span in resource["scopeSpans"][0]["spans"]]


def test_a_task_is_a_trace_of_its_own_with_a_link_to_the_run(run: RunDir) -> None:
    window, task, *others = spans_of(document(run))
    assert told(task)["gen_ai.operation.name"] == "invoke_agent"
    assert task["links"] == [{"traceId": window["traceId"], "spanId": window["spanId"]}]
    assert task["traceId"] != window["traceId"]
    assert "parentSpanId" not in task
    assert {span["parentSpanId"] for span in others} == {task["spanId"]}
    assert {span["traceId"] for span in others} == {task["traceId"]}
    assert len({span["spanId"] for span in (window, task, *others)}) == 2 + len(others)


def test_turns_and_tools_have_the_names_of_the_conventions_and_their_joules(run: RunDir) -> None:
    spans = spans_of(document(run))
    tools = [told(span) for span in spans if span["name"].startswith("execute_tool")]
    assert [tool["gen_ai.tool.name"] for tool in tools] == ["search", "calc"]
    assert all(tool["gen_ai.operation.name"] == "execute_tool" and tool["gen_ai.tool.call.id"] for tool in tools)
    (task,) = (told(span) for span in spans if span["name"].startswith("invoke_agent"))
    chats = [told(span) for span in spans if told(span).get("gen_ai.operation.name") == "chat"]
    parts = sum(each["ipw.energy_j"] for each in (*tools, *chats)) + task["ipw.pause_energy_j"]
    assert task["ipw.energy_j"] == pytest.approx(parts)
    assert [chat["ipw.turn"] for chat in chats] == ["1", "2", "3"]
    failed = [span for span in spans if span["status"].get("code") == 2]
    assert [told(span)["gen_ai.tool.name"] for span in failed] == ["search"]


class Collector(BaseHTTPRequestHandler):
    """Takes traces, or not."""

    got: list[tuple[str, dict[str, str], Any]]
    status, answer = 200, b"{}"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).got.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(self.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[tuple[str, type[Collector]]]:
    kind = type("OneCollector", (Collector,), {"got": []})
    server = HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", kind
    server.shutdown()
    thread.join()
    server.server_close()


def test_traces_are_sent_as_they_are_written(
    run: RunDir, collector: tuple[str, type[Collector]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret%20value,x=1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    url, kind = collector
    text = document(run)
    assert send_traces(json.loads(text), url) == len(spans_of(text))
    ((path, headers, body),) = kind.got
    assert (path, headers["Content-Type"], headers["Api-Key"]) == ("/v1/traces", "application/json", "s3cret value")
    assert body == json.loads(text)


def test_many_spans_are_sent_in_parts(collector: tuple[str, type[Collector]]) -> None:
    url, kind = collector
    scope = {"scope": {"name": "ipw"}, "spans": [{"spanId": str(i)} for i in range(1200)]}
    text = json.dumps({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]})
    assert send_traces(json.loads(text), url + "/") == 1200
    got = [len(body["resourceSpans"][0]["scopeSpans"][0]["spans"]) for _, _, body in kind.got]
    assert got == [500, 500, 200]


def test_what_a_collector_rejects_is_not_counted(run: RunDir, collector: tuple[str, type[Collector]]) -> None:
    url, kind = collector
    kind.answer = b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "no"}}'
    text = document(run)
    assert send_traces(json.loads(text), url) == len(spans_of(text)) - 2


@pytest.mark.parametrize("status", [302, 400, 401, 503])
def test_a_collector_that_refuses_is_told_in_one_line(
    status: int, run: RunDir, collector: tuple[str, type[Collector]]
) -> None:
    url, kind = collector
    kind.status = status
    with pytest.raises(IpwError, match=f"answers HTTP {status}"):
        send_traces(json.loads(document(run)), url)
    assert len(kind.got) == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"what?\r\n\r\n", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "IncompleteRead"),
        (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "answers HTTP 500"),
        (b"", "cannot be reached|RemoteDisconnected"),
    ],
)
def test_what_does_not_speak_http_is_told_in_one_line(run: RunDir, answer: bytes, told: str) -> None:
    class Mute(StreamRequestHandler):
        def handle(self) -> None:
            body = 0
            while (line := self.rfile.readline()).strip():
                name, _, value = line.decode().partition(":")
                body = int(value) if name.lower() == "content-length" else body
            self.rfile.read(body)
            self.wfile.write(answer)

    with TCPServer(("127.0.0.1", 0), Mute) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(IpwError, match=told) as refused:
            send_traces(json.loads(document(run)), f"http://127.0.0.1:{server.server_address[1]}")
        thread.join()
    assert "\n" not in refused.value.message


def test_a_collector_that_is_not_there_is_told(run: RunDir) -> None:
    with pytest.raises(IpwError, match="cannot be reached"):
        send_traces(json.loads(document(run)), "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("http://h:4318", "http://h:4318/v1/traces"),
        ("https://h/otel/", "https://h/otel/v1/traces"),
        ("http://h/v1/traces", "http://h/v1/traces"),
    ],
)
def test_an_address_is_completed(url: str, whole: str) -> None:
    assert endpoint(url) == whole


@pytest.mark.parametrize(
    "url",
    [
        "localhost:4318",
        "ftp://h",
        "http://",
        "file:///etc/passwd",
        "http://u:p@h",
        "http://h:x",
        "http://h/a b",
        "http://h/\x7f",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"not the address|holds a secret"):
        endpoint(url)


def test_headers_are_read_as_opentelemetry_writes_them() -> None:
    assert headers_of("a=b%3Dc, d = e ,,nothing") == {"a": "b=c", "d": "e"}


def test_a_header_with_a_new_line_is_refused_without_its_value() -> None:
    with pytest.raises(UsageError) as refused:
        headers_of("key=s3cr%0Aet")
    assert "s3cr" not in refused.value.message


def test_an_address_that_is_wrong_shows_no_secret() -> None:
    with pytest.raises(UsageError) as refused:
        endpoint("http://u:s3cret@h/a b")
    assert "s3cret" not in refused.value.message


def test_a_stored_run_is_sent_by_the_verb(run: RunDir, collector: tuple[str, type[Collector]], tmp_path: Path) -> None:
    url, kind = collector
    done = CliRunner().invoke(command, [str(run.path), "--otlp", url], standalone_mode=False)
    assert done.exception is None
    assert len(kind.got) == 1
    both = CliRunner().invoke(command, [str(run.path), "--otlp", url, "--format", "otlp"], standalone_mode=False)
    assert isinstance(both.exception, UsageError)
    into = CliRunner().invoke(command, [str(run.path), "--otlp", url, "-o", str(tmp_path / "x")], standalone_mode=False)
    assert isinstance(into.exception, UsageError)


@pytest.mark.parametrize("verb", [*(f"verbs.workloads.{name}" for name in RUNS), "verbs.measure", "verbs.gateway",
                                  "verbs.resume"])  # fmt: skip
def test_every_verb_that_measures_refuses_a_wrong_address_before_it_begins(verb: str) -> None:
    command = import_module(f"ipw.{verb}").command
    found = CliRunner().invoke(command, ["--otlp", "ftp://x", "--", "true"])
    assert isinstance(found.exception, UsageError)
    assert "is not the address of a collector" in str(found.exception)


def test_a_run_that_has_ended_is_sent_even_if_its_server_was_lost(
    run: RunDir, collector: tuple[str, type[Collector]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, kind = collector
    assert conclude(run, interrupted=True, as_json=True, strict=False, otlp=url) == INTERRUPTED
    assert len(kind.got) == 1
    shown = capsys.readouterr()
    assert "spans sent to" in shown.err
    assert json.loads(shown.out)["run"] == str(run)
    conclude(run, interrupted=False, as_json=True, strict=False, otlp="http://127.0.0.1:9")
    assert "no trace was sent" in capsys.readouterr().err
