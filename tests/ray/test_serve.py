"""Ray Serve: answers are those of one server, sessions stay, and what dies is replaced."""

import concurrent.futures
import json
import threading
import time

import cluster
import httpx
import pytest
from ray import serve

import bise.ray.serve
from bise.ray import program

PORT = 8217
URL = f"http://127.0.0.1:{PORT}"
KEY = "a-key-that-no-log-may-have"
SECRET = "words-that-no-log-may-have"
HEADERS = {"authorization": f"Bearer {KEY}"}
ENDLESS = {"max_tokens": 90_000, "ignore_eos": True, "stream": True}
REPLICA = "ray::ServeReplica:default:bise"


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> list[str]:
    """What both the replicas' servers and the lone one are given."""
    folder = tmp_path_factory.mktemp("serve")
    template = folder / "chat.jinja"
    template.write_text("{% for message in messages %}{{ message.content }}\n{% endfor %}")
    keys = folder / "keys"
    keys.write_text(KEY)
    keyed = ["--api-key-file", str(keys)]
    return ["--template", str(template), "--ctx", "100000", "--kv-memory", "2GiB", *keyed]


@pytest.fixture(scope="module", autouse=True)
def served(options):
    with cluster.three_nodes():
        serve.start(http_options={"host": "127.0.0.1", "port": PORT})
        app = bise.ray.serve.app(
            str(cluster.MODEL),
            replicas=2,
            grace=5,
            options=options,
            deployment={"max_replicas_per_node": 1},
        )
        serve.run(app)
        yield
        serve.shutdown()


@pytest.fixture(scope="module")
def alone(options):
    """The address of the server that answers are compared with."""
    with cluster.lone_server(program.find(), *options) as address:
        yield address


@pytest.fixture
def client():
    with httpx.Client(base_url=URL, headers=HEADERS, timeout=60) as client:
        yield client


def chat(*said: str, **more) -> dict:
    """A request for an answer to a conversation."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]
    return {"messages": messages, "max_tokens": 12, "seed": 3, **more}


def metric(process, name: str) -> float:
    """A number of a server's /metrics, all labels together."""
    port = next(c.laddr.port for c in process.net_connections() if c.status == "LISTEN")
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=HEADERS).text
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def prompts_read() -> dict[int, float]:
    """How many tokens of prompts each server has had."""
    return {p.pid: metric(p, "bise_prompt_tokens_total") for p in cluster.servers()}


def told(text: str) -> str:
    """An answer, without what is another one each time, or tells what was known before."""
    gone = {"id", "created", "created_at", "system_fingerprint", "prompt_tokens_details"}

    def cut(value):
        if isinstance(value, dict):
            kept = {k: cut(v) for k, v in value.items() if k not in gone}
            return {k: v for k, v in kept.items() if not k.endswith("_duration")}
        return [cut(item) for item in value] if isinstance(value, list) else value

    lines = []
    for line in text.splitlines():
        head, brace, rest = line.partition("{")
        lines.append(head + json.dumps(cut(json.loads(brace + rest))) if brace else line)
    return "\n".join(lines)


ONCE = {"model": cluster.MODEL.name, "messages": chat("Once upon")["messages"]}
REQUESTS = {
    "an answer": ("/v1/chat/completions", chat("Once upon a time")),
    "a stream": ("/v1/chat/completions", chat("Once upon a time", stream=True)),
    "a text": ("/v1/completions", {"prompt": "Once", "max_tokens": 9, "temperature": 0}),
    "Ollama's": ("/api/chat", {**ONCE, "options": {"seed": 1, "num_predict": 9}}),
    "Anthropic's": (
        "/v1/messages",
        {**ONCE, "max_tokens": 9, "temperature": 0, "stream": True},
    ),
    "a mistake": ("/v1/chat/completions", {"messages": 5}),
    "another one": ("/v1/messages", {"max_tokens": "many"}),
    "no such path": ("/v1/nothing?really", {}),
}
MISTAKES = ("a mistake", "another one", "no such path")


@pytest.mark.parametrize("which", REQUESTS)
def test_answers_are_those_of_one_server(which, client, alone):
    path, body = REQUESTS[which]
    ours, theirs = client.post(path, json=body), httpx.post(alone + path, json=body, headers=HEADERS)
    assert ours.status_code == theirs.status_code
    assert (ours.status_code == 200) == (which not in MISTAKES)
    assert told(ours.text) == told(theirs.text)
    added = {"date", "server", "x-request-id", "content-length", "transfer-encoding"}
    kept = [
        [(name, value) for name, value in answer.headers.multi_items() if name not in added]
        for answer in (ours, theirs)
    ]
    assert sorted(kept[0]) == sorted(kept[1])


def test_others_do_not_get_in(client):
    answer = httpx.post(URL + "/v1/completions", json={"prompt": "x"})
    assert answer.status_code == 401 and "key" in answer.json()["error"]["message"]
    answer = client.get("/v1/models", headers={"origin": "https://elsewhere.example"})
    assert answer.status_code == 403


def test_a_body_that_is_too_long(client):
    answer = client.post("/v1/messages", content=b" " * (33 << 20))
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "request_too_large"


LONG = "Once upon a time there was a little girl who lived in a house by the sea. " * 10


@pytest.mark.parametrize("how", ["header", "user", "beginning"])
def test_sessions_stay_where_they_are_known(how, client):
    used = set()
    for session in range(6):
        before = prompts_read()
        said = [f"{how} {session}: {LONG}"]
        headers = {"x-session-id": f"s{session}"} if how == "header" else {}
        more = {"user": f"u{session}"} if how == "user" else {}
        for turn in range(3):
            answer = client.post("/v1/chat/completions", json=chat(*said, **more), headers=headers)
            body = answer.json()
            known = body["usage"]["prompt_tokens_details"]["cached_tokens"]
            assert (known >= 128) == (turn > 0), body["usage"]
            said += [body["choices"][0]["message"]["content"], f"And then {turn}?"]
        moved = [pid for pid, count in prompts_read().items() if count != before[pid]]
        assert len(moved) == 1, "one server read all turns"
        used.update(moved)
    assert len(used) == 2, "sessions are shared out"


def test_who_leaves_is_not_written_for(client):
    def running():
        return sum(metric(server, "bise_running_answers") for server in cluster.servers())

    with client.stream("POST", "/v1/chat/completions", json=chat("Once", **ENDLESS)) as answer:
        lines = answer.iter_lines()  # the client leaves when this does
        assert next(lines).startswith("data: {")
        cluster.eventually(lambda: running() == 1, 5)
    cluster.eventually(lambda: running() == 0, 5)


def reads(client, user: str, stop: threading.Event) -> tuple[str, list[str]]:
    """Reads a stream to its end: how that was, and its lines."""
    lines = []
    body = chat("Once", user=user, **ENDLESS)
    try:
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                if stop.is_set():
                    return "went on", lines
    except httpx.RemoteProtocolError as error:
        return f"broken: {error}", lines
    return "ended", lines


class Load:
    """Streams and short requests, while something happens."""

    def __init__(self, client, expected: str):
        self._client, self._expected = client, expected
        self._stop = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(15)
        users = [f"reader {i}" for i in range(12)]
        self.streams = [self._pool.submit(reads, client, user, self._stop) for user in users]
        self.short = [self._pool.submit(self._ask) for _ in range(3)]

    def _ask(self) -> list[tuple[float, int, bool, float]]:
        """When each request began, its status, whether it was right, and how long it took."""
        made = []
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                answer = self._client.post("/v1/chat/completions", json=chat("Once upon a time"))
                right = answer.status_code == 200 and told(answer.text) == self._expected
                made.append((began, answer.status_code, right, time.monotonic() - began))
            except httpx.HTTPError as error:
                made.append((began, 0, False, time.monotonic() - began))
                print(repr(error))
            time.sleep(0.02)
        return made

    def end(self):
        self._stop.set()
        streams = [stream.result() for stream in self.streams]
        return streams, [asked for worker in self.short for asked in worker.result()]


@pytest.mark.parametrize("what", ["server", "replica"])
def test_one_is_killed_under_load(what, client, alone):
    path, body = REQUESTS["an answer"]
    expected = told(httpx.post(alone + path, json=body, headers=HEADERS).text)
    pids = {process.pid for process in cluster.servers()}
    load = Load(client, expected)
    time.sleep(2)
    running = {p.pid: metric(p, "bise_running_answers") for p in cluster.servers()}
    victim = max(cluster.servers(), key=lambda server: running[server.pid])
    killed_at = time.monotonic()
    cluster.kill(victim if what == "server" else victim.parent())
    cluster.eventually(
        lambda: len(found := {p.pid for p in cluster.servers()}) == 2 and victim.pid not in found
    )
    back = time.monotonic() - killed_at
    time.sleep(4)
    streams, asked = load.end()

    cut = [(how, lines) for how, lines in streams if how != "went on"]
    assert 0 < len(cut) <= running[victim.pid], "streams of the server that was killed, and no others"
    for how, lines in cut:
        assert "data: [DONE]" not in lines
        if what == "server":
            last = [line for line in lines if line][-1]
            assert how == "ended" and "try again" in json.loads(last[6:])["error"]["message"]
        else:
            assert how.startswith("broken"), lines[-6:]
    bad = [(began - killed_at, status, right) for began, status, right, _ in asked if not right]
    after = [asked for asked in asked if asked[0] > killed_at]
    print(f"{what}: {len(asked)} requests, {len(after)} after the kill, not answered: {bad};")
    print(f"  streams {[how for how, _ in streams]}; slowest {max(a[3] for a in after):.2f} s;")
    print(f"  two servers again after {back:.1f} s")
    # Those that it was answering, and no others.
    assert all(-0.5 < began < 0.01 for began, _, _ in bad)
    assert {status for _, status, _ in bad} <= ({502, 503} if what == "server" else {500})
    assert len(after) > 20
    assert len(pids & {process.pid for process in cluster.servers()}) == 1


def test_what_cannot_be_served_is_told(tmp_path):
    app = bise.ray.serve.app(str(tmp_path / "no-such-model"), replicas=1)
    with pytest.raises(RuntimeError):
        serve.run(app, name="wrong", route_prefix="/wrong")
    told = serve.status().applications["wrong"].deployments["bise"].message
    assert "ended with exit code 1 before it was ready" in told and "no-such-model" in told
    serve.delete("wrong")
    with pytest.raises(ValueError, match="--port is not taken here: a replica's server chooses"):
        bise.ray.serve.app(options=["--port", "1"])
    with pytest.raises(ValueError, match="Extra inputs"):
        bise.ray.serve.app(replica=2)
    with pytest.raises(FileNotFoundError, match="program: there is no program at '/no/bise'"):
        program.find("/no/bise")


def test_answers_end_before_a_replica_does(client):
    """Also the last test: nothing is left of the servers, and no log has what nobody may know."""
    body = chat(SECRET, max_tokens=1500, ignore_eos=True, stream=True)
    servers = cluster.servers()
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        deleting = threading.Thread(target=serve.delete, args=("default",))
        deleting.start()
        assert "data: [DONE]" in list(lines)
    deleting.join()
    cluster.eventually(lambda: not any(server.is_running() for server in servers), 20)
    files = [file for file in cluster.logs().rglob("*") if file.is_file()]
    assert any(b"/v1/chat/completions" in file.read_bytes() for file in files)
    for file in files:
        text = file.read_bytes()
        assert KEY.encode() not in text and SECRET.encode() not in text, file
