"""A server in a process of its own, and clients that do not behave."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from chainrule.serving import serve, server
from support.commands import chainrule, start
from support.served import JSON, as_rows, price_model, sale_table

MODEL = price_model()
ROW = as_rows(sale_table(1, seed=1))[0]
BODY = json.dumps(ROW).encode()
REQUEST = (
    b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
    % (
        len(BODY),
        BODY,
    )
)
# Seconds after which a test gives up on what does not come, on however busy a machine.
LONGEST = 120
# A server whose patience is short, so that the tests' need not be long.
IMPATIENT = """
import json, sys
from chainrule.model import Model
from chainrule.serving import Limits, serve
serve(Model.load(sys.argv[1]), port=0, limits=Limits(**json.loads(sys.argv[2])),
      on_start=lambda address: print(address, flush=True))
"""
LIMITS = {"idle_seconds": 1, "body_seconds": 0.8, "connections": 150, "body_bytes": 500_000}


class Server(NamedTuple):
    process: subprocess.Popen[str]
    port: int
    line: str

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LONGEST)

    def ask(self, body: bytes = BODY) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST)
        with contextlib.closing(connection):
            connection.request("POST", "/predict", body, JSON)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def is_well(self) -> bool:
        return self.ask() == (200, {"predictions": MODEL.predict(pd.DataFrame([ROW])).tolist()})

    def memory(self) -> int:
        """Resident bytes at the most, so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


@contextlib.contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[Server]:
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()
        yield Server(process, int(re.findall(r"http://127\.0\.0\.1:(\d+)", line)[0]), line)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "model.safetensors"
    MODEL.save(path)
    return path


@pytest.fixture(scope="module")
def impatient(model_file: Path) -> Iterator[Server]:
    command = [sys.executable, "-c", IMPATIENT, str(model_file), json.dumps(LIMITS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with running(process) as server:
        yield server
        assert server.is_well()
        assert process.poll() is None, "it is the same after all this"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LONGEST)
        assert errors == "", "nothing that a client does is worth a traceback"


def everything(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection; a reset is an end too."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(2**16):
            received += piece
    return received


# The command ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_command_serves_until_a_signal(model_file: Path, number: signal.Signals, code: int) -> None:
    with running(start("serve", model_file, "--port", 0)) as server:
        assert f"{model_file} is served at http://127.0.0.1:{server.port} until Ctrl-C; try: curl -s" in server.line
        curl = shlex.split(server.line.partition("try: ")[2])
        assert curl[2] == f"http://127.0.0.1:{server.port}/predict"
        assert server.ask(curl[-1].encode())[0] == 200
        assert server.is_well()
        with server.connect() as idle:
            time.sleep(0.1)
            server.process.send_signal(number)
            rest, errors = server.process.communicate(timeout=LONGEST)
            assert everything(idle) == b""
        assert (server.process.returncode, rest, errors) == (code, "", "")


# Predictions take so many seconds, and the server gives them so many when it stops; each begins with a line.
SLOW = """
import sys, time
from chainrule.model import Model
from chainrule.serving import serve, server, service
server.SECONDS_TO_STOP, service.INLINE_PRODUCTS = float(sys.argv[3]), 0
model = Model.load(sys.argv[1])
predict = model.network.predict
def slowly(inputs):
    if (inputs != 0).any():  # and it is not the warming up
        print("It predicts.", flush=True)
        time.sleep(float(sys.argv[2]))
    return predict(inputs)
model.network.predict = slowly
sys.exit(serve(model, port=0, on_start=lambda address: print(address, flush=True)))
"""


@contextlib.contextmanager
def running_slowly(model_file: Path, takes: float, patience: float = 5) -> Iterator[Server]:
    command = [sys.executable, "-c", SLOW, str(model_file), str(takes), str(patience)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with running(process) as server:
        yield server


def test_neither_an_idle_nor_a_half_sent_request_keeps_the_server_longer_than_others(model_file: Path) -> None:
    with running_slowly(model_file, 0, 0.3) as server, server.connect() as idle, server.connect() as sending:
        sending.sendall(REQUEST[:-5])
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=LONGEST) == signal.SIGTERM
        assert everything(idle) == b""
        received = everything(sending)
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b"The server is stopping." in received


def send_when_it_predicts(process: subprocess.Popen[str], *signals: signal.Signals) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "It predicts.\n"
    for number in signals:
        process.send_signal(number)
        time.sleep(0.2)


def test_a_request_under_way_has_five_seconds_and_is_answered_before_the_end(model_file: Path) -> None:
    many = json.dumps(as_rows(sale_table(9000, seed=2))).encode()
    with running_slowly(model_file, 3.3) as server, ThreadPoolExecutor(1) as client:
        answer = client.submit(server.ask, many)
        send_when_it_predicts(server.process, signal.SIGTERM)
        status, answered = answer.result(timeout=LONGEST)
        assert (status, len(answered.get("predictions", ()))) == (200, 9000)
        _, errors = server.process.communicate(timeout=LONGEST)
        assert (server.process.returncode, errors) == (signal.SIGTERM, "")


def test_the_start_of_another_request_costs_no_answer(model_file: Path) -> None:
    many = json.dumps(as_rows(sale_table(9000, seed=2))).encode()
    head = REQUEST[: REQUEST.index(b"content-length")]
    with running_slowly(model_file, 0.5) as server, server.connect() as connection:
        connection.sendall(head + b"content-length: %d\r\n\r\n%s" % (len(many), many) + REQUEST[:-5])
        send_when_it_predicts(server.process, signal.SIGTERM)
        received = everything(connection)
        assert re.findall(rb"HTTP/1\.1 (\d+)", received)[0] == b"200"
        assert received.count(b",") > 8990
        assert server.process.wait(timeout=LONGEST) == signal.SIGTERM


def stop_slow_server(model_file: Path, takes: float, patience: float, signals: list[signal.Signals]) -> tuple[int, str]:
    """The status of a request in progress when the signals come, and what the server says."""
    with running_slowly(model_file, takes, patience) as server, ThreadPoolExecutor(1) as client:
        request = client.submit(server.ask)
        send_when_it_predicts(server.process, *signals)
        _, errors = server.process.communicate(timeout=LONGEST)
        assert server.process.returncode == signals[0]
        return request.result(timeout=LONGEST)[0], errors


@pytest.mark.parametrize(
    ("patience", "signals"), [(0.3, [signal.SIGTERM]), (5, [signal.SIGINT] * 2)], ids=["too slow", "Ctrl-C twice"]
)
def test_a_request_that_is_given_up_is_no_traceback(
    model_file: Path, patience: float, signals: list[signal.Signals]
) -> None:
    assert stop_slow_server(model_file, 2, patience, signals) == (503, "")


def test_requests_cut_off_in_a_row_are_no_traceback(model_file: Path) -> None:
    with running_slowly(model_file, 1, 0.3) as server, server.connect() as connection:
        connection.sendall(REQUEST * 3)
        send_when_it_predicts(server.process, signal.SIGTERM)
        _, errors = server.process.communicate(timeout=LONGEST)
        assert (server.process.returncode, errors) == (signal.SIGTERM, "")


def test_a_model_that_cannot_predict_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """In older versions of uvicorn, ``run`` returns as if all were well."""
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets=None: None)
    with pytest.raises(SystemExit) as caught:
        serve(MODEL, port=0)
    assert caught.value.code == 3


def test_a_program_without_output_can_serve(model_file: Path) -> None:
    program = IMPATIENT.replace("serve(", "sys.stdout = None\nserve(").replace(
        "address, ", "address, file=sys.stderr, "
    )
    command = [sys.executable, "-c", program, str(model_file), "{}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("http://127.0.0.1:")
    finally:
        process.kill()
        process.communicate()


def test_a_busy_port_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom chainrule.cli.app import app\n"
        "try:\n    app(sys.argv[1:])\n"
        "finally:\n    print(*({'numpy', 'starlette', 'uvicorn', 'pandas'} & set(sys.modules)))\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-c", program, "serve", str(tmp_path / "nothing"), "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    sentence = f"Port {port} of 127.0.0.1 is in use; stop the program that uses it, or choose another port with --port."
    assert (ended.returncode, ended.stdout.strip()) == (2, "")
    assert ended.stderr == f"Error: {sentence}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nothing", "--port", "0"), "There is no run folder 'nothing'."),
        (("nothing", "--host", "no.such.host.invalid"), "There is no host 'no.such.host.invalid' to listen on"),
        (("nothing", "--host", "192.0.2.1", "--port", "0"), "'192.0.2.1' is not an address of this machine"),
    ],
    ids=["run", "host", "address"],
)
def test_what_cannot_be_served_is_told(arguments: tuple[str, ...], sentence: str) -> None:
    result = chainrule("serve", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {sentence}")
    assert result.stderr.count("\n") == 1


def test_a_system_may_lack_the_options_of_a_listener() -> None:
    class Plain(socket.socket):
        def setsockopt(self, level: int, option: int, value: Any) -> None:  # type: ignore[override]
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    with Plain() as listener:
        server._limit_unsent_bytes(listener, 10)


def test_missing_libraries_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uvicorn" else name)
    result = chainrule("serve", "nothing")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: Serving needs packages that are not installed")
    assert result.stderr.endswith("python -m pip install starlette uvicorn\n")


def test_the_code_that_does_the_same_is_printed(model_file: Path) -> None:
    code = chainrule("serve", model_file, "--port", 0, "--max-rows", 7, "--show-code").stdout
    process = subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with running(process) as server:
        assert server.is_well()
        assert server.ask(b"[" + b"[]," * 7 + b"[]]")[0] == 413


# Clients that do not behave ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
        b"GET\r\n\r\n",
        b"\x00" * 1000,
        b"POST /predict HTTP/9.9\r\n\r\n",
        b"POST /predict HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /predict HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\nZZ\r\n",
        b"GET /" + b"a" * 300_000,
        b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (n, b"v" * 1000) for n in range(500)),
        REQUEST * 500,
    ],
    ids=["tls", "short", "zeros", "version", "length", "lengths", "chunk", "long line", "long head", "pipelined"],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_the_server_goes_on(impatient: Server, sent: bytes) -> None:
    with impatient.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        received = everything(connection)
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", received)
    if len(sent) < 10_000:
        assert statuses == [b"400"]
    else:  # one that goes on sending may lose the answer with the connection
        assert set(statuses) <= {b"200", b"400", b"431"}
    assert impatient.is_well()


def test_pipelined_requests_are_answered_in_order(impatient: Server) -> None:
    with impatient.connect() as connection:
        connection.sendall(REQUEST + b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n" + REQUEST)
        bodies = re.findall(rb"\r\n\r\n(\{[^}]*\})", everything(connection))
    assert [sorted(json.loads(body)) for body in bodies] == [["predictions"], ["status"], ["predictions"]]


OFFERS = {
    "curl": b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
    "browser": b"connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nsec-websocket-key: x\r\n",
    "twice": b"upgrade: h2c\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("step", [10_000, 7], ids=["at once", "in pieces"])
def test_an_offer_of_another_protocol_is_not_taken(impatient: Server, offer: str, step: int) -> None:
    offering = REQUEST.replace(b"\r\n\r\n", b"\r\n" + OFFERS[offer] + b"\r\n", 1)
    sent = offering + REQUEST + offering
    with impatient.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), step):
            connection.sendall(sent[start : start + step])
            time.sleep(0.001 if step < 100 else 0)
        received = everything(connection)
    truth = {"predictions": MODEL.predict(pd.DataFrame([ROW])).tolist()}
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"200"] * 3
    for body in re.findall(rb"\r\n\r\n(\{[^}]*\})", received):
        assert json.loads(body)["predictions"] == pytest.approx(truth["predictions"], rel=1e-5)


@pytest.mark.parametrize(
    "last_words",
    [b"HTTP/1.1\r\nconnection: Upgrade, close", b"HTTP/1.0\r\nconnection: Upgrade"],
    ids=["close", "HTTP/1.0"],
)
def test_an_offer_in_the_last_request_of_a_connection_is_answered(impatient: Server, last_words: bytes) -> None:
    head = REQUEST.partition(b"\r\n")[2].replace(b"\r\n\r\n", b"\r\nupgrade: h2c\r\n\r\n", 1)
    with impatient.connect() as connection:
        connection.sendall(b"POST /predict " + last_words + b"\r\n" + head)
        received = everything(connection)
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"200"]
    assert b'"predictions"' in received


def test_a_body_is_never_taken_for_a_request(impatient: Server) -> None:
    hidden = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n"
    head = REQUEST[: REQUEST.index(b"content-length")] + OFFERS["curl"] + b"content-length: %d\r\n\r\n" % len(hidden)
    chunked = head.replace(b"content-length: %d" % len(hidden), b"transfer-encoding: chunked")
    for first, rest in ((head, hidden), (chunked, b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden))):
        with impatient.connect() as connection:
            connection.sendall(first)
            time.sleep(0.1)
            connection.sendall(rest)
            received = everything(connection)
        assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"400"]
        assert b"The body is not JSON" in received


def test_a_tunnel_is_refused(impatient: Server) -> None:
    with impatient.connect() as connection:
        connection.sendall(
            b"CONNECT model:80 HTTP/1.1\r\nhost: localhost\r\n\r\nGET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
        )
        received = everything(connection)
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"404", b"200"], "no tunnel, but a further request"


@pytest.mark.parametrize(
    "last",
    [b"GARBAGE\r\n\r\n", b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n"],
    ids=["line", "chunk"],
)
def test_what_is_no_request_does_not_overtake_an_answer(impatient: Server, last: bytes) -> None:
    with impatient.connect() as connection:
        connection.sendall(REQUEST * 3 + last + REQUEST)
        received = everything(connection)
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"200"] * 3 + [b"400"]


def test_a_connection_that_sends_no_further_request_is_closed(impatient: Server) -> None:
    with impatient.connect() as connection:
        connection.sendall(REQUEST)
        assert everything(connection).startswith(b"HTTP/1.1 200 ")
    assert impatient.is_well()


def test_a_head_without_an_end_is_given_up(impatient: Server) -> None:
    with impatient.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(1_000):
                connection.sendall(b"x: %s\r\n" % (b"y" * 990))
                time.sleep(0.001)
            pytest.fail("the server has not given up")
    assert impatient.is_well()


def test_a_body_that_drips_is_given_up(impatient: Server) -> None:
    with impatient.connect() as connection:
        connection.sendall(REQUEST[: -len(BODY)])
        with contextlib.suppress(ConnectionError):
            for byte in BODY[:12]:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)  # 0.6 seconds in all; the answer comes after 0.8
        received = everything(connection)
        assert received.startswith(b"HTTP/1.1 408 ")
    assert impatient.is_well()


def test_a_huge_body_is_refused_and_not_kept(impatient: Server) -> None:
    before = impatient.memory()
    piece = b"10000\r\n" + b"[" * 2**16 + b"\r\n"
    with impatient.connect() as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        with contextlib.suppress(ConnectionError):
            for _ in range(800):  # 50 MB
                connection.sendall(piece)
        everything(connection)
    with impatient.connect() as connection:  # a client that stops at the limit, and so can read what it is told
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        connection.sendall(piece * 7 + b"a23f\r\n" + b"[" * (LIMITS["body_bytes"] + 1 - 7 * 2**16))
        received = everything(connection)
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"413"]
    assert b"connection: close" in received
    assert impatient.memory() - before < 20 * 2**20
    assert impatient.is_well()


def test_a_request_for_another_host_is_refused(impatient: Server) -> None:
    with impatient.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: evil.example\r\n\r\n")
        assert everything(connection).startswith(b"HTTP/1.1 421 ")
    assert impatient.is_well()


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"], ids=["open", "whole"])
def test_a_head_that_is_too_long_is_refused(impatient: Server, end: bytes) -> None:
    with impatient.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 66_000 + end)
        received = everything(connection)
    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))


def test_a_client_that_takes_no_answer_is_cut_off(impatient: Server) -> None:
    many = json.dumps([[100, 3, True, "Faro", 2, "no", "2001-02-03"]] * 5000).encode()
    request = REQUEST[: REQUEST.index(b"content-length")] + b"content-length: %d\r\n\r\n%s" % (len(many), many)
    with impatient.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        with pytest.raises(ConnectionError):  # and not that the time is up, while the server waits
            connection.sendall(request * 100)
    assert impatient.is_well()


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(impatient: Server) -> None:
    many = json.dumps([[100, 3, True, "Faro", 2, "no", "2001-02-03"]] * 9000).encode()
    head = REQUEST[: REQUEST.index(b"content-length")] + b"connection: close\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(LONGEST)
        connection.connect(("127.0.0.1", impatient.port))
        connection.sendall(head + b"content-length: %d\r\n\r\n%s" % (len(many), many))
        received, n_pauses = b"", 0
        while piece := connection.recv(2**13):
            received += piece
            n_pauses += 1
            time.sleep(0.1)
    assert n_pauses * 0.1 > 1.5 * LIMITS["idle_seconds"], "longer than a client may take nothing"
    body = received.partition(b"\r\n\r\n")[2]
    assert len(json.loads(body)["predictions"]) == 9000


def test_clients_that_leave_cost_nothing(impatient: Server) -> None:
    for length in range(0, len(REQUEST), 7):
        with impatient.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            connection.sendall(REQUEST[:length])
    assert impatient.is_well()


def test_many_connections_at_once(impatient: Server) -> None:
    with ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(lambda _: impatient.ask(), range(400)))
    truth = MODEL.predict(pd.DataFrame([ROW]))[0]
    assert {status for status, _ in answers} == {200}
    assert all(answer["predictions"] == pytest.approx([truth], rel=1e-5) for _, answer in answers)


def test_connections_beyond_the_limit_are_refused(impatient: Server) -> None:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert files > 400, "the test needs that many open files"
    health = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(impatient.connect()) for _ in range(200)]
        crowd[-1].sendall(health)
        assert everything(crowd[-1]).startswith(b"HTTP/1.1 503 ")
        for connection in crowd[100:]:
            connection.close()
        time.sleep(0.1)
        crowd[0].sendall(health)
        assert everything(crowd[0]).startswith(b"HTTP/1.1 200 ")
    assert impatient.is_well()
