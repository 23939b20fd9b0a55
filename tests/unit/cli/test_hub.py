"""`emo-face models push` and `pull hf://` by the real client, against a hub that answers as huggingface.co's API does.

Endpoints and fields: huggingface_hub's own client (create_repo, preupload, commit, model_info, resolve).
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("huggingface_hub")

from emo_face.cli import main as cli
from emo_face.perception.multiview import checkpoint, head_file, model
from emo_face.perception.multiview.config import EncoderConfig, FusionConfig
from emo_face.perception.multiview.encoders.siglip2 import Siglip2Encoder
from emo_face.perception.multiview.fusion_head import FusionHead
from fixtures.tiny_encoders import tiny_siglip


class Hub:
    """Repositories in memory."""

    def __init__(self):
        self.files, self.private, self.asked = {}, {}, []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.answer(*hub.post(self.path.split("?")[0], body))

            def do_GET(self):
                self.answer(*hub.get(self.path.split("?")[0]))

            def do_HEAD(self):
                self.answer(*hub.get(self.path.split("?")[0]), head=True)

            def answer(self, code, body, headers=(), head=False):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(code)
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if not head:
                    self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def commit_of(self, name):
        content = json.dumps(sorted((path, len(data)) for path, data in self.files[name].items()))
        return hashlib.sha1(content.encode()).hexdigest()

    def post(self, path, body):
        self.asked.append(path)
        if path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given.get('organization') or 'me'}/{given['name']}"
            self.files.setdefault(name, {})
            self.private[name] = given.get("private", given.get("visibility") == "private")
            return 200, {"url": f"{self.url}/{name}", "name": name, "id": name}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        name = "/".join(path.split("/")[3:5])
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            return 200, {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            oid = self.commit_of(name)
            url = f"{self.url}/{name}/commit/{oid}"
            return 200, {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""}
        return 404, {"error": path}

    def get(self, path):
        self.asked.append(path)
        if path.startswith("/api/models/"):
            name = "/".join(path.split("/")[3:5])
            if name not in self.files:
                return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
            siblings = [{"rfilename": file} for file in self.files[name]]
            if "/tree/" in path:
                rows = [
                    {"type": "file", "path": f, "size": len(d), "oid": "0" * 40} for f, d in self.files[name].items()
                ]
                return 200, rows
            sha = self.commit_of(name)
            return 200, {"id": name, "modelId": name, "sha": sha, "siblings": siblings, "private": True, "tags": []}
        if "/resolve/" not in path:
            return 404, {"error": path}
        owner, name, _, _, file = path.lstrip("/").split("/", 4)
        data = self.files[f"{owner}/{name}"].get(file)
        if data is None:
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        etag = f'"{hashlib.sha1(data).hexdigest()}"'
        return 200, data, {"ETag": etag, "X-Repo-Commit": self.commit_of(f"{owner}/{name}")}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    made = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", made.url)  # as HF_ENDPOINT does before the import
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", made.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A Stage 2 folder of tier medium."""
    folder = tmp_path_factory.mktemp("model")
    eyes = tiny_siglip()
    eyes.save_pretrained(folder.parent / "base")
    config = EncoderConfig(kind="siglip2", image_size=28, mean=(0.5,) * 3, std=(0.5,) * 3, resample="bilinear")
    from emo_face.perception.multiview.encoders import load_eyes

    checkpoint.save_encoder(folder, Siglip2Encoder(load_eyes(folder.parent / "base", config), config))
    fusion = FusionConfig("emotic26", in_features=32, width=16)
    metrics = {"val": {"mAP": 31.234, "f1": 20.5, "accuracy": None}, "views": {"scene": 1.0, "face": 0.84}}
    card = head_file.HeadCard(fusion, np.full(26, 0.5), np.ones(26), np.zeros(26), metrics=metrics)
    head_file.save(folder, FusionHead(fusion).eval(), card)
    (folder / "notes.txt").write_text("mine alone")
    return folder


PUSH = ("models", "push", "hf://me/emotic-medium", "--licence", "other", "--data", "EMOTIC")


def test_pushed_and_pulled_it_is_the_same_model(hub, trained, tmp_path, capsys):
    assert cli.main([*PUSH, "--folder", str(trained)]) == 0
    assert hub.private["me/emotic-medium"] is True
    there = hub.files["me/emotic-medium"]
    assert set(there) == {"README.md", "encoder.json", "encoder.safetensors", "head.json", "head.safetensors"}
    capsys.readouterr()
    assert cli.main(["models", "pull", "hf://me/emotic-medium", "--to", str(tmp_path / "m")]) == 0
    assert "siglip2, emotic26, trained" in capsys.readouterr().out
    for name in set(there) - {"README.md"}:
        assert (tmp_path / "m" / name).read_bytes() == (trained / name).read_bytes()
    source = json.loads((tmp_path / "m" / "source.json").read_text())
    assert source == {"repository": "me/emotic-medium", "commit": hub.commit_of("me/emotic-medium")}
    assert model.load(tmp_path / "m", trained.parent / "base", tier="medium").card.fusion.label_set == "emotic26"


def test_the_card_has_front_matter_that_the_hub_reads(trained, capsys):
    from huggingface_hub import ModelCard

    assert cli.main([*PUSH, "--folder", str(trained), "--dry-run"]) == 0
    text = capsys.readouterr().out
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "other"
    assert front["base_model"] == "google/siglip2-base-patch16-224"
    card = ModelCard(text)
    (result, f1) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("mean_average_precision", 31.23)
    assert (f1.metric_type, f1.metric_value) == ("f1", 20.5)
    assert "face 84 %" in text
    assert "Apache-2.0" in text


def test_what_was_changed_on_its_way_is_refused(hub, trained, tmp_path, capsys):
    assert cli.main([*PUSH, "--folder", str(trained)]) == 0
    there = hub.files["me/emotic-medium"]
    there["head.json"] = there["head.json"].replace(b"head/1", b"head/9")
    assert cli.main(["models", "pull", "hf://me/emotic-medium", "--to", str(tmp_path / "m")]) == 2
    assert "head.json: field 'format'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["pull", "hf://me/none", "--to", "{tmp}/m"], "hf://me/none: "),
        (["pull", "hf://me"], "expected hf://OWNER/NAME"),
        (["pull", "hf://me/x"], "needs --to"),
        (["pull", "hf://me/x", "--to", "{model}"], "holds other files"),
        (["pull", "hf://me/x", "yunet"], "one address of the hub at a time"),
        (["push", "me/x", "--folder", "{model}", "--licence", "mit", "--data", "D"], "expected hf://OWNER/NAME"),
        (["push", "hf://me/x", "--folder", "{tmp}", "--licence", "mit", "--data", "D"], "neither export.json nor head"),
    ],
)
def test_mistakes_are_one_line(hub, trained, tmp_path, capsys, words, text):
    given = [word.format(tmp=tmp_path, model=trained) for word in words]
    assert cli.main(["models", *given]) == 2
    said = capsys.readouterr().err
    assert text in said
    assert "Traceback" not in said


def test_nothing_else_asks_the_hub(hub, trained):
    model.load(trained, trained.parent / "base")
    assert hub.asked == []
