"""The model store: lookup order, wrong hashes, overlay, downloads over real TLS."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from emo_face.cli.main import main
from emo_face.core.errors import ConfigError, ModelError
from emo_face.runtime.download import pull
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.store import ModelEntry, ModelStore, open_store, read_manifest, register, sha256_of

GOOD, BAD = b"the right bytes", b"other bytes!!!!"


def entry(**changes: object) -> ModelEntry:
    values: dict[str, object] = {
        "name": "thing",
        "file": "thing.onnx",
        "sha256": hashlib.sha256(GOOD).hexdigest(),
        "size": len(GOOD),
        "licence": "MIT",
        "purpose": "a test",
    }
    return ModelEntry.model_validate(values | changes)


def put(folder: Path, data: bytes, name: str = "thing.onnx") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore({"thing": entry()}, tmp_path / "cache", (tmp_path / "extra",), tmp_path / "packaged")


def test_lookup_order_is_explicit_then_folders_then_cache_then_packaged(store: ModelStore, tmp_path: Path) -> None:
    packaged = put(tmp_path / "packaged", GOOD)
    assert store.resolve("thing").path == packaged
    cached = put(tmp_path / "cache", GOOD)
    assert store.resolve("thing").path == cached
    deep = put(tmp_path / "extra" / "some" / "folder", GOOD)
    fresh = ModelStore(store.entries, store.cache, store.extra, store.packaged)
    assert fresh.resolve("thing").path == deep
    mine = put(tmp_path, GOOD, "renamed.onnx")
    found = fresh.resolve("thing", explicit=mine)
    assert (found.path, found.place) == (mine, "explicit path")


def test_wrong_hash_is_refused_by_name_with_expected_and_got(store: ModelStore, tmp_path: Path) -> None:
    path = put(tmp_path / "cache", BAD)
    put(tmp_path / "packaged", GOOD)  # a good file further down must not hide the bad one
    with pytest.raises(ModelError) as caught:
        store.resolve("thing")
    text = str(caught.value)
    for part in ("thing", str(path), hashlib.sha256(GOOD).hexdigest(), hashlib.sha256(BAD).hexdigest(), "delete"):
        assert part in text
    assert store.status("thing").state == "wrong hash"


def test_wrong_explicit_path_says_how_to_trust_it(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="emo-face models add thing"):
        store.resolve("thing", explicit=put(tmp_path, BAD))
    with pytest.raises(ModelError, match="is not a file"):
        store.resolve("thing", explicit=tmp_path / "nowhere.onnx")


def test_two_files_of_one_name_in_a_tree_the_right_one_is_taken(store: ModelStore, tmp_path: Path) -> None:
    put(tmp_path / "extra" / "a", BAD)
    right = put(tmp_path / "extra" / "b", GOOD)
    assert store.resolve("thing").path == right


def test_missing_model_names_the_command(store: ModelStore) -> None:
    with pytest.raises(ModelError, match="EMO_FACE_MODELS"):
        store.resolve("thing")
    linked = ModelStore({"thing": entry(url="https://example.org/thing.onnx")}, store.cache)
    with pytest.raises(ModelError, match="emo-face models pull thing"):
        linked.resolve("thing")
    with pytest.raises(ModelError, match="known: thing"):
        store.resolve("thingy")


def test_hash_is_cached_until_the_file_changes(tmp_path: Path) -> None:
    path = put(tmp_path, GOOD)
    first = sha256_of(path)
    assert sha256_of(path) == first == hashlib.sha256(GOOD).hexdigest()
    path.write_bytes(BAD + b"longer")
    assert sha256_of(path) == hashlib.sha256(BAD + b"longer").hexdigest()


def test_overlay_replaces_and_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("EMO_FACE_MODELS", raising=False)
    own = entry(name="yolo11n", file="mine.onnx")
    overlay = register(own)
    register(entry(name="another"))
    assert overlay == tmp_path / "emo_face" / "manifest.yaml"
    put(overlay.parent, GOOD, "mine.onnx")
    store = open_store()
    assert store.resolve("yolo11n").path == overlay.parent / "mine.onnx"
    assert "another" in store.entries
    assert "yunet" in store.entries


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sha256", "abc"),
        ("url", "http://example.org/x"),
        ("file", "../x.onnx"),
        ("size", 0),
        ("name", "a b"),
        ("surprise", 1),
    ],
)
def test_bad_manifest_names_file_and_field(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump({"models": [entry().model_dump() | {field: value}]}))
    with pytest.raises(ConfigError, match=rf"manifest\.yaml.*{field}"):
        read_manifest(path)


def test_manifest_that_is_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_bytes(b"\xff\xfe{[")
    with pytest.raises(ConfigError, match=r"manifest\.yaml"):
        read_manifest(path)


def test_real_models_verify(assets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EMO_FACE_MODELS", str(assets))
    assert main(["models", "verify", "yolo11n", "yunet"]) == 0
    assert main(["models", "list", "--json"]) == 0
    assert '"state": "ok"' in capsys.readouterr().out


def test_damaged_onnx_is_named(tmp_path: Path) -> None:
    path = put(tmp_path, GOOD)
    with pytest.raises(ModelError, match=r"thing\.onnx"):
        OrtEngine(path)


def test_cli_add_trusts_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert main(["models", "add", "mine", str(put(tmp_path, GOOD, "mine.onnx"))]) == 0
    assert open_store(extra=[]).resolve("mine").place == "user cache"


def test_two_files_of_one_name_are_two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ultralytics calls every trained network best.pt and its export best.onnx."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for name, data in (("bodies", GOOD), ("hands", BAD)):
        assert main(["models", "add", name, str(put(tmp_path, data, "best.onnx"))]) == 0
    found = {name: open_store(extra=[]).resolve(name).path for name in ("bodies", "hands")}
    assert [path.read_bytes() for path in found.values()] == [GOOD, BAD]
    assert main(["models", "add", "bodies", str(found["bodies"])]) == 0, "where it lies already"


@pytest.mark.parametrize(("name", "data", "says"), [("my/net", GOOD, "field name: "), ("mine", b"", "field size: ")])
def test_cli_add_refuses_in_words_and_copies_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    data: bytes,
    says: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert main(["models", "add", name, str(put(tmp_path, data, "mine.onnx"))]) == 2
    assert f"mine.onnx: {says}" in capsys.readouterr().err
    assert not (tmp_path / "xdg").exists()


# ---- downloads

Site = tuple[str, ssl.SSLContext, str]
"""Address, settings that trust its certificate, the certificate's file."""


class _Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/to-http":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/thing.onnx")
            self.end_headers()
            return
        if self.path in ("/cut", "/chunks"):  # a line that drops: the server promised more
            self.send_response(200)
            promise = ("Content-Length", str(len(GOOD))) if self.path == "/cut" else ("Transfer-Encoding", "chunked")
            self.send_header(*promise)
            self.end_headers()
            self.wfile.write(GOOD[:5] if self.path == "/cut" else b"5\r\n" + GOOD[:5] + b"\r\nff\r\n")
            return
        data = {"/good": GOOD, "/bad": BAD, "/long": GOOD * 10}.get(self.path)
        self.send_response(200 if data else 404)
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real https server on this host with a certificate made for this test."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}", ssl.create_default_context(cafile=str(cert)), str(cert)
    server.shutdown()
    server.server_close()


def test_pull_checks_and_moves_into_place(site: Site, tmp_path: Path) -> None:
    url, context, _ = site
    seen: list[tuple[int, int]] = []
    path = pull(entry(url=f"{url}/good"), tmp_path, lambda done, total: seen.append((done, total)), context)
    assert path.read_bytes() == GOOD
    assert seen[-1] == (len(GOOD), len(GOOD))


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("bad", "wrong bytes"),
        ("long", "more than"),
        ("gone", "404"),
        ("to-http", "not https"),
        ("cut", rf"ended after 5 of {len(GOOD)} bytes; try again"),
        ("chunks", "failed: IncompleteRead"),
    ],
)
def test_bad_download_leaves_nothing(site: Site, tmp_path: Path, page: str, says: str) -> None:
    url, context, _ = site
    with pytest.raises(ModelError, match=says):
        pull(entry(url=f"{url}/{page}"), tmp_path, context=context)
    assert list(tmp_path.iterdir()) == []


def test_untrusted_certificate_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="certificate"):
        pull(entry(url=f"{site[0]}/good"), tmp_path)


def test_pull_without_address_says_how(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="make it yourself"):
        pull(entry(how="make it yourself"), tmp_path)


def test_cli_pull_downloads_once_and_verifies(
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, _, certificate = site
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("EMO_FACE_MODELS", raising=False)
    register(entry(url=f"{url}/good"))
    assert main(["models", "verify", "thing"]) == 1
    assert main(["models", "pull", "thing"]) == 0
    assert (tmp_path / "emo_face" / "thing.onnx").read_bytes() == GOOD
    assert main(["models", "pull", "thing"]) == 0
    assert "already at" in capsys.readouterr().out
    assert main(["models", "verify", "thing"]) == 0
    assert main(["models", "pull"]) == 2
