import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chainrule.data.catalog.download import RemoteFile, StandIn, fetch_file
from chainrule.errors import DataError
from support.commands import chainrule

CONTENT = bytes(range(256)) * 4000
SIZE = len(CONTENT)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT at /good; other paths misbehave in one way each."""

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.headers.get("Range") else 0
        if self.path == "/missing":
            self.send_error(404)
            return
        if start >= len(CONTENT):
            self.send_error(416)
            return
        if self.path == "/no-range":
            start = 0
        content = b"x" * len(CONTENT) if self.path == "/wrong" else CONTENT
        content = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:300_000] if self.path == "/breaks" else content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.requests = []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def remote(server, *paths, size=SIZE, **options):
    host = f"http://127.0.0.1:{server.server_address[1]}"
    return RemoteFile("set", "file.bin", tuple(host + path for path in paths), CHECKSUM, size, **options)


def cached(tmp_path):
    return tmp_path / "cache" / "chainrule" / "set" / "file.bin"


def test_a_file_is_fetched_once_and_progress_is_told(server, tmp_path):
    told = []
    path = fetch_file(remote(server, "/good"), lambda done, total: told.append((done, total)))
    assert path == cached(tmp_path)
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert fetch_file(remote(server, "/good")) == path
    assert len(server.requests) == 1
    path.write_bytes(b"damaged on disk")
    assert fetch_file(remote(server, "/good")).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_an_interruption_is_resumed(server, tmp_path, size):
    with pytest.raises(DataError, match=r"after 300000 of 1024000 bytes.* continues after 300000 bytes"):
        fetch_file(remote(server, "/breaks", size=size))
    part = cached(tmp_path).with_name("file.bin.part")
    assert part.stat().st_size == 300_000
    assert not cached(tmp_path).exists()
    assert fetch_file(remote(server, "/good", size=size)).read_bytes() == CONTENT
    assert server.requests[-1] == ("/good", "bytes=300000-")
    assert not part.exists()


def test_two_at_a_time_fetch_it_once(server):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(fetch_file, [remote(server, "/good")] * 4))
    assert len(set(paths)) == 1
    assert len(server.requests) == 1


def test_a_server_without_ranges_starts_again(server, tmp_path):
    with pytest.raises(DataError):
        fetch_file(remote(server, "/breaks"))
    assert fetch_file(remote(server, "/no-range")).read_bytes() == CONTENT


def test_a_mirror_continues_and_replaces(server):
    assert fetch_file(remote(server, "/missing", "/breaks", "/wrong", "/good")).read_bytes() == CONTENT
    assert server.requests[-1] == ("/good", None)


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(DataError, match="wrong SHA-256"):
        fetch_file(remote(server, "/wrong"))
    assert [path.name for path in cached(tmp_path).parent.iterdir()] == [".file.bin.lock"]


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_whole_part_file_is_only_checked(server, tmp_path, size):
    part = cached(tmp_path).with_name("file.bin.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert fetch_file(remote(server, "/good", size=size)).read_bytes() == CONTENT
    assert len(server.requests) == (0 if size else 1)


def test_offline_is_one_clear_sentence(server):
    with pytest.raises(DataError, match=r"404.*cannot be reached.*check the connection, or set CHAINRULE") as caught:
        fetch_file(RemoteFile("set", "f", (*remote(server, "/missing").urls, "http://127.0.0.1:9/f"), CHECKSUM))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="set CHAINRULE_DATA"):
        fetch_file(remote(server))


def test_the_data_folder_is_read_and_never_written(server, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    monkeypatch.setenv("CHAINRULE_DATA", str(folder.parent))
    other = StandIn("other.bin", hashlib.sha256(b"other").hexdigest())
    rebuilt = StandIn("file.bin", hashlib.sha256(b"rebuilt").hexdigest())
    file = remote(server, "/good", stand_ins=(other, rebuilt))
    assert fetch_file(file) == cached(tmp_path)
    assert list(folder.iterdir()) == []
    (folder / "other.bin").write_bytes(b"other")
    assert fetch_file(file) == folder / "other.bin"
    (folder / "file.bin").write_bytes(b"rebuilt")
    assert fetch_file(file) == folder / "file.bin"
    (folder / "file.bin").write_bytes(b"something else")
    with pytest.raises(DataError, match="damaged or another version"):
        fetch_file(file)
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="not a folder"):
        fetch_file(file)


def test_a_cache_that_can_only_be_read_is_read(server, tmp_path, monkeypatch):
    fetch_file(remote(server, "/good"))
    monkeypatch.setattr("chainrule.data.catalog.download._lock", lambda _: pytest.fail("nothing is to be written"))
    assert fetch_file(remote(server, "/good")).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"file.bin' could not be written: not a directory; set XDG_CACHE_HOME"):
        fetch_file(remote(server, "/good"))


def test_without_a_home_folder_the_other_places_are_named(server, monkeypatch):
    def refuse():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", refuse)
    with pytest.raises(DataError, match=r"There is no home folder .* set XDG_CACHE_HOME .* or CHAINRULE_DATA"):
        fetch_file(remote(server, "/good"))
    assert "mnist" in chainrule("data", "list").stdout
