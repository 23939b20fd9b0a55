"""Context annotation against a real HTTP server of this machine: paid once, lost never, refused and broken counted."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_endpoint import GOOD, FakeEndpoint

from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.datasets.annotate.cache import ReplyCache
from emo_face.datasets.annotate.collect import Collector, Job, Settings
from emo_face.datasets.annotate.http import HttpProvider
from emo_face.datasets.annotate.provider import Reply, Request, TransientError
from emo_face.datasets.records import Record, read_jsonl, write_jsonl

RNG = np.random.default_rng(0)


@pytest.fixture
def people(tmp_path):
    """make(n) -> records file and picture folder with n pictures."""

    def make(count):
        root = tmp_path / "pictures"
        root.mkdir(exist_ok=True)
        records = []
        for i in range(count):
            cv2.imwrite(str(root / f"{i}.png"), RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8))
            records.append(Record(f"r{i}", f"{i}.png", "caers7", ("Sad",), "train", bbox_body=Box(5, 5, 20, 30)))
        write_jsonl(tmp_path / "records.jsonl", records)
        return tmp_path / "records.jsonl", root

    return make


def command(people, tmp_path, endpoint, *more, out="out.jsonl", action="context"):
    records, root = people
    words = ["annotate", action, "--records", records, "--model", "m", "--out", tmp_path / out, "--json", *more]
    words += ["--root", root] if action == "context" else []
    words += ["--perspectives", "speaker"] if action == "context" and "--perspectives" not in more else []
    words += ["--endpoint", endpoint] if endpoint else []
    return [str(word) for word in words]


def rows(path: Path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_context_for_every_record(people, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    where = people(5)
    with FakeEndpoint() as server:
        prices = ("--price-in", "3", "--price-out", "15", "--key-env", "SECRET")
        assert main(command(where, tmp_path, server.url, *prices)) == 0
        report = json.loads(capsys.readouterr().out)
    assert report["rows"] == {"done": 5}
    assert report["spent"] == pytest.approx(5 * (1000 * 3 + 50 * 15) / 1e6)
    made = list(read_jsonl(tmp_path / "out.jsonl"))
    assert [(r.id, r.situation, r.quote) for r in made] == [
        (f"r{i}", "He waits for a bus that never comes.", "Where is it, then?") for i in range(5)
    ]
    one = rows(tmp_path / "out.provenance.jsonl")[0]
    assert {"id", "provider", "model", "prompt", "prompt_hash", "key", "served_by", "date", "attempts"} <= set(one)
    assert (one["served_by"], one["prompt"], one["status"]) == ("fake-2026", "paper-1", "done")
    body = server.bodies[0]
    assert body["path"] == "/v1/chat/completions"
    assert server.headers[0]["Authorization"] == "Bearer s3cret"
    assert not any("s3cret" in p.read_text(errors="ignore") for p in tmp_path.rglob("*") if p.is_file())
    system, user = body["messages"]
    assert "avoid directly mentioning the emotion labels" in system["content"]
    picture, text = user["content"]
    assert text["text"].startswith("The emotion label of the person in the red box is Sad. Based on this photo,")
    data = base64.b64decode(picture["image_url"]["url"].split(",")[1])
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
    red = (shown[:, :, 2] > 180) & (shown[:, :, :2].max(2) < 90)
    assert red.sum() > 1000, "the person is in a red box"


HEARD = "[Expected situation]: She hears him ask for the bus. [Expected reaction]: Surprised."


def test_the_listener_is_asked_about_after_the_speaker(people, tmp_path, capsys):
    where = people(3)

    def answer(body, number):
        text = body["messages"][1]["content"][1]["text"]
        if "listener" not in text:
            return GOOD
        assert "“He waits for a bus that never comes.” and says: “Where is it, then?”" in text
        return HEARD if len(bad) == 2 else bad.append(number) or "[Expected reaction]: Hungry"

    bad = []
    with FakeEndpoint(answer) as server:
        both = command(where, tmp_path, server.url, "--perspectives", "speaker,listener", "--price-in", "3")
        assert main([*both, "--workers", "1"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert main(both) == 0
        assert sum(server.calls.values()) == 8, "two answers were of no use, and nothing was asked twice"
    assert (report["rows"], report["listener_rows"]) == ({"done": 3}, {"done": 3})
    assert (report["requests"], report["spent"]) == (8, pytest.approx(8 * 3000 / 1e6))
    made = list(read_jsonl(tmp_path / "out.jsonl"))
    assert {(r.quote, r.listener_situation, r.reaction) for r in made} == {
        ("Where is it, then?", "She hears him ask for the bus.", "Surprise")
    }
    versions = [row["prompt"] for row in rows(tmp_path / "out.provenance.jsonl")]
    assert versions == ["paper-1"] * 3 + ["ours-1"] * 3


def test_a_listener_that_is_junk_costs_its_speaker_nothing(people, tmp_path, capsys):
    where = people(2)
    with FakeEndpoint(lambda body, number: GOOD if number % 2 else "no idea") as server:
        both = ("--perspectives", "speaker,listener", "--workers", "1", "--tries", "2")
        assert main(command(where, tmp_path, server.url, *both)) == 1
    assert json.loads(capsys.readouterr().out)["listener_rows"] == {"invalid": 2}
    assert [(r.quote, r.reaction) for r in read_jsonl(tmp_path / "out.jsonl")] == [("Where is it, then?", "")] * 2


def test_without_a_box_nothing_is_asked(people, tmp_path, capsys):
    where = people(2)
    one, two = read_jsonl(where[0])
    write_jsonl(where[0], [replace(one, bbox_body=None), two])
    with FakeEndpoint() as server:
        assert main(command(where, tmp_path, server.url)) == 1
        assert len(server.bodies) == 1
    assert json.loads(capsys.readouterr().out)["rows"] == {"unusable": 1, "done": 1}
    (row,) = [r for r in rows(tmp_path / "out.provenance.jsonl") if r["status"] == "unusable"]
    assert "emo-face data boxes" in row["detail"]


def test_a_second_run_asks_nothing_and_gives_the_same(people, tmp_path, capsys):
    where = people(4)
    with FakeEndpoint() as server:
        main(command(where, tmp_path, server.url))
        first = (tmp_path / "out.jsonl").read_bytes()
        main(command(where, tmp_path, server.url))
        assert sum(server.calls.values()) == 4
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["requests"] == 0
    assert again["from_cache"] == 4
    assert (tmp_path / "out.jsonl").read_bytes() == first
    replay = command(
        where, tmp_path, None, "--provider", "replay", "--cache", tmp_path / "out.cache", out="replay.jsonl"
    )
    assert main(replay) == 0, "without any network"
    assert (tmp_path / "replay.jsonl").read_bytes() == first
    empty = command(where, tmp_path, None, "--provider", "replay", "--cache", tmp_path / "other", out="none.jsonl")
    assert main(empty) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == {"not cached": 4}


def test_another_picture_box_prompt_or_model_is_another_question(people, tmp_path):
    where = people(1)
    with FakeEndpoint() as server:
        cache = ("--cache", tmp_path / "cache")
        main(command(where, tmp_path, server.url, *cache))
        main([*command(where, tmp_path, server.url, *cache), "--model", "other"])
        (record,) = read_jsonl(where[0])
        write_jsonl(where[0], [Record(record.id, record.image, "caers7", ("Fear",), bbox_body=record.bbox_body)])
        main(command(where, tmp_path, server.url, *cache))
        write_jsonl(where[0], [Record(record.id, record.image, "caers7", ("Fear",), bbox_body=Box(1, 1, 9, 9))])
        main(command(where, tmp_path, server.url, *cache))
        (where[1] / "0.png").write_bytes(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes())
        main(command(where, tmp_path, server.url, *cache))
        assert len(server.calls) == 5
        assert set(server.calls.values()) == {1}


def test_killed_in_the_middle_no_row_is_lost_or_paid_twice(people, tmp_path):
    """SIGKILL, twice: what was answered is never asked again, what is in doubt is asked under the same key."""
    count, workers = 40, 4
    where = people(count)
    with FakeEndpoint(seconds=0.03) as server:
        words = [sys.executable, "-m", "emo_face.cli.main", *command(where, tmp_path, server.url, "--workers", workers)]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        doubtful = 0
        for stop in (5, 20):
            child = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 30
            while len(server.finished) < stop and child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert len(server.finished) >= stop, "the kill came in the middle"
            doubtful += workers
        assert not (tmp_path / "out.jsonl").exists(), "nothing half written"
        kept = {row["key"] for row in rows_whole(tmp_path / "out.cache" / "replies.jsonl")}
        before = dict(server.calls)
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
    assert report["rows"] == {"done": count}
    assert [r.id for r in read_jsonl(tmp_path / "out.jsonl")] == [f"r{i}" for i in range(count)]
    assert len(server.charged) == count, "one charge a row at an endpoint that honours keys"
    assert all(server.calls[key] == before[key] for key in kept), "an answer on disk is never asked for again"
    repeated = sum(server.calls.values()) - count
    assert repeated <= doubtful, "at most what was under way at the kills is asked again"
    assert report["in_doubt_before"] >= repeated, "and it is accounted for"


def rows_whole(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def test_interrupted_by_ctrl_c_answers_under_way_are_kept(people, tmp_path):
    where = people(30)
    with FakeEndpoint(seconds=0.05) as server:
        words = [sys.executable, "-m", "emo_face.cli.main", *command(where, tmp_path, server.url)]
        # a shell that starts the tests with & has the signal ignored, and children inherit that
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
        while len(server.finished) < 5 and child.poll() is None:
            time.sleep(0.002)
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 130
        kept = rows_whole(tmp_path / "out.cache" / "replies.jsonl")
        assert len(kept) == sum(server.calls.values()) < 30, "everything that was asked is kept"


def test_refusals_wrong_forms_and_bad_rows_are_counted(people, tmp_path, capsys):
    where = people(7)
    records = list(read_jsonl(where[0]))
    for i, record in enumerate(records):
        cv2.imwrite(str(where[1] / record.image), np.full((20, 20, 3), 30 * i, np.uint8))
    (where[1] / "5.png").unlink()
    (where[1] / "6.png").write_bytes(b"no picture")

    def answer(body, number):
        data = base64.b64decode(body["messages"][1]["content"][0]["image_url"]["url"].split(",")[1])
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        which = round(float(picture[384, 384].mean()) / 30)
        return [
            GOOD,
            "I'm sorry, but I can't help with identifying people.",
            {"content": None, "refusal": "no"},
            (400, {}, '{"error": {"code": "content_filter"}}'),
            "[Expected situation]: He waits.",
        ][which]

    with FakeEndpoint(answer) as server:
        assert main(command(where, tmp_path, server.url, "--tries", "3")) == 1
        calls = sum(server.calls.values())
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == {"done": 1, "refused": 3, "invalid": 1, "unusable": 2}
    assert calls == 1 + 3 + 3, "a wrong form is asked three times, a refusal once"
    details = {row["id"]: row.get("detail", "") for row in rows(tmp_path / "out.provenance.jsonl")}
    assert "quote" in details["r4"]
    assert "5.png" in details["r5"]
    assert "decode" in details["r6"]
    assert [r.id for r in read_jsonl(tmp_path / "out.jsonl")] == ["r0"]


def test_leaks_are_flagged_and_asked_again_on_request(people, tmp_path, capsys):
    where = people(2)
    leaky = "[Expected situation]: A sad man mourns his dog. [Expected quote]: I miss him."

    def answer(body, number):
        return leaky if number < 2 else GOOD

    with FakeEndpoint(answer) as server:
        assert main(command(where, tmp_path, server.url, out="kept.jsonl")) == 0
        kept = json.loads(capsys.readouterr().out)
    assert kept["flags"] == {"label_word": 2, "synonym": 2}
    assert rows(tmp_path / "kept.provenance.jsonl")[0]["flags"] == {"label_word": ["sad"], "synonym": ["mourns"]}
    with FakeEndpoint(answer) as server:
        reject = ("--reject", "label_word,synonym", "--workers", "1", "--cache", tmp_path / "new")
        assert main(command(where, tmp_path, server.url, *reject)) == 0
        assert sum(server.calls.values()) == 4
    assert json.loads(capsys.readouterr().out)["flags"] == {}
    assert main(command(where, tmp_path, "http://127.0.0.1:1/v1", "--reject", "typo")) == 2


class Clockwork:
    """A provider that fails as told, and sleeps that are only written down."""

    name = "clockwork"

    def __init__(self, *failures):
        self.failures, self.asked = list(failures), 0

    def complete(self, request):
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return Reply("fine", tokens_in=10, tokens_out=1)


def collect(tmp_path, provider, count=1, settings=None, tick=None):
    slept = []
    jobs = [
        Job(f"j{i}", lambda attempt, i=i: Request("m", "s", f"u{i}", attempt=attempt, picture=bytes), str)
        for i in range(count)
    ]
    with ReplyCache(tmp_path / "cache") as cache:
        settings = settings or Settings(workers=1, retries=3)
        moment = "2026-01-01T00:00:00+00:00"
        collector = Collector(provider, cache, settings, tick, sleep=slept.append, now=lambda: moment)
        return collector.run(jobs), collector.account, slept


def test_back_off_grows_and_heeds_the_server(tmp_path):
    provider = Clockwork(TransientError("busy"), TransientError("busy", wait=30.0), TransientError("busy"))
    (outcome,), account, slept = collect(tmp_path, provider)
    assert outcome.request.picture is None, "rows do not keep their pictures"
    assert (outcome.status, outcome.reply.date) == ("done", "2026-01-01T00:00:00+00:00")
    assert 1 <= slept[0] <= 1.25
    assert slept[1] == 30
    assert 4 <= slept[2] <= 5
    assert (account.retries, account.requests) == (3, 1)


def test_after_enough_failures_the_row_is_left_for_the_next_run(tmp_path):
    (outcome,), account, slept = collect(tmp_path, Clockwork(*[TransientError("down")] * 4))
    assert (outcome.status, len(slept)) == ("unreachable", 3)
    assert account.in_doubt == 4, "each of them may have been charged"
    (outcome,), account, _ = collect(tmp_path, Clockwork())
    assert outcome.status == "done"
    assert account.in_doubt_before == 4


def test_a_dead_endpoint_stops_the_run_instead_of_every_row(tmp_path):
    gone = [TransientError("nobody listens", charged=False, reached=False)] * 4
    with pytest.raises(UserError, match=r"clockwork: gave no answer \(nobody listens\); .*answers are kept"):
        collect(tmp_path, Clockwork(gone[0]), 9)  # at once, not after all retries
    late = Clockwork()
    with pytest.raises(UserError, match="nobody listens"):
        collect(tmp_path, late, 9, tick=lambda outcome: late.failures.extend(gone))
    assert late.asked == 5, "one answer, and one row's retries after it"
    with pytest.raises(UserError, match="busy"):
        collect(tmp_path, Clockwork(*[TransientError("busy")] * 20), 9)
    outcomes, _, _ = collect(tmp_path, Clockwork(*[TransientError("busy")] * 16), 9)
    assert [outcome.status for outcome in outcomes] == ["done", *["unreachable"] * 4, *["done"] * 4], (
        "a few rows are poison"
    )


def test_what_certainly_was_not_charged_is_not_in_doubt(tmp_path):
    _, account, _ = collect(tmp_path, Clockwork(*[TransientError("refused", charged=False)] * 4))
    assert account.in_doubt == 0


def test_the_budget_holds(tmp_path):
    settings = Settings(workers=1, price_in=100_000.0, budget=2.5)
    outcomes, account, _ = collect(tmp_path, Clockwork(), 5, settings)
    assert [o.status for o in outcomes] == ["done", "done", "done", "not asked", "not asked"]
    assert account.spent == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (429, {"Retry-After": "7"}, "transient"),
        (503, {}, "transient"),
        (401, {}, "user"),
        (404, {}, "user"),
        (302, {"Location": "http://127.0.0.1:1/"}, "user"),
    ],
)
def test_http_failures(status, headers, kind):
    with FakeEndpoint(lambda body, number: (status, headers, "no")) as server:
        provider = HttpProvider(server.url)
        request = Request("m", "s", "u")
        if kind == "user":
            with pytest.raises(UserError, match=str(status)):
                provider.complete(request)
            return
        with pytest.raises(TransientError) as caught:
            provider.complete(request)
    assert caught.value.wait == (7.0 if status == 429 else None)
    assert caught.value.charged == (status >= 500)


@pytest.mark.parametrize("text", ["<html>", "{}", '{"choices": []}', '{"choices": [{}]}', "[]", ""])
def test_answers_that_are_no_completion_are_tried_again(text):
    with (
        FakeEndpoint(lambda body, number: (200, {}, text)) as server,
        pytest.raises(TransientError, match="completion"),
    ):
        HttpProvider(server.url).complete(Request("m", "s", "u"))


def test_nobody_there_and_wrong_addresses():
    with pytest.raises(TransientError) as caught:
        HttpProvider("http://127.0.0.1:9/v1", timeout=2).complete(Request("m", "s", "u"))
    assert not caught.value.charged
    for address in ("host/v1", "ftp://host/v1", ""):
        with pytest.raises(UserError, match="--endpoint"):
            HttpProvider(address)
    with pytest.raises(UserError, match="unencrypted"):
        HttpProvider("http://example.org/v1")
    assert HttpProvider("https://example.org/v1").name == "http:example.org"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--retries", "-1"), "--retries: expected at least 0, got -1"),
        (("--timeout", "0"), "--timeout: expected at least 0.1, got 0.0"),
        (("--price-in", "-1"), "--price-in: expected at least 0"),
        (("--seed", "-1"), "--seed: expected 0 or more, got -1"),
        (("--records", "empty.jsonl"), "empty.jsonl: no records in it"),
    ],
)
def test_flags_without_sense_are_named(people, tmp_path, capsys, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    Path("empty.jsonl").touch()
    assert main([*command(people(1), tmp_path, "http://127.0.0.1:9/v1"), *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_picture_that_cannot_be_shown_is_its_row_s_own_fault(people, tmp_path, capsys):
    where = people(4)
    odd = (Box(9000, 9000, 5, 5), Box(float("nan"), 1, 5, 5), Box(1, 1, 0, 0))
    seen = [replace(r, bbox_body=box, bbox_face=None) for r, box in zip(read_jsonl(where[0]), odd, strict=False)]
    write_jsonl(where[0], [*seen, replace(seen[0], id="zero", image="a\0b.png", bbox_body=Box(1, 1, 9, 9))])
    with FakeEndpoint() as server:
        assert main(command(where, tmp_path, server.url)) == 1
        assert not server.bodies, "the person in the red box is not asked about without one"
    capsys.readouterr()
    details = [row["detail"] for row in rows(tmp_path / "out.provenance.jsonl")]
    for detail, part in zip(details, ("outside", "has no box", "has no box", "null"), strict=True):
        assert part in detail


def test_a_fatal_error_stops_the_run_and_keeps_what_came(people, tmp_path, capsys):
    where = people(6)

    def answer(body, number):
        return GOOD if number < 3 else (401, {}, "expired")

    with FakeEndpoint(answer) as server:
        assert main(command(where, tmp_path, server.url, "--workers", "1")) == 2
        assert "--key-env" in capsys.readouterr().err
        assert sum(server.calls.values()) == 4
    assert len(rows(tmp_path / "out.cache" / "replies.jsonl")) == 3


def test_the_cache_survives_a_cut_line_and_keeps_others_out(tmp_path):
    with ReplyCache(tmp_path) as cache:
        cache.put("a", Reply("x"))
        with pytest.raises(UserError, match="another annotation run"):
            ReplyCache(tmp_path)
    with (tmp_path / "replies.jsonl").open("a") as file:
        file.write('{"key": "b", "reply": {"te')
    with ReplyCache(tmp_path) as cache:
        assert cache.get("a") == Reply("x")
        assert cache.get("b") is None
        cache.put("b", Reply("y"))
    with ReplyCache(tmp_path) as cache:
        assert cache.get("b") == Reply("y")
    broken = {
        "replies": ("nonsense", "{}", '{"key": "k", "reply": "x"}', '{"key": "k", "reply": {"text": "x", "new": 1}}')
    }
    for name, lines in {**broken, "sent": ('{"key": "k"}',)}.items():
        for number, line in enumerate(lines):
            folder = tmp_path / f"{name}{number}"
            folder.mkdir()
            (folder / f"{name}.jsonl").write_text(line + "\n")
            with pytest.raises(UserError, match=rf"{name}.jsonl:1.*broken"):
                ReplyCache(folder)


def test_the_judge(people, tmp_path, capsys):
    where = people(6)
    records = [
        Record(r.id, r.image, "caers7", r.labels, situation="He lost his dog.", quote=f"Q{i}. <FACE> [x]")
        for i, r in enumerate(read_jsonl(where[0]))
    ]
    write_jsonl(where[0], records)

    def answer(body, number):
        text = body["messages"][1]["content"][-1]["text"]
        assert "He lost his dog." in text
        assert "<FACE>" not in text
        scores = {"emotional_alignment": 4.5, "coherence": 5, "realism": 4, "overall": 4.5}
        broken = {"emotional_alignment": 9} if "Q5" in text else {}
        return (
            "```json\n" + json.dumps({**scores, "sufficient": "Q0" not in text, "ambiguous": False, **broken}) + "\n```"
        )

    with FakeEndpoint(answer) as server:
        assert main(command(where, tmp_path, server.url, action="judge")) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == {"done": 5, "invalid": 1}
    assert report["judged"]["n"] == 5
    assert report["judged"]["coherence"]["value"] == 5
    assert report["judged"]["sufficient"]["value"] == pytest.approx(80)
    assert report["judged"]["sufficient"]["low"] < 80 < report["judged"]["sufficient"]["high"]
    judged = rows(tmp_path / "out.jsonl")
    assert judged[0]["realism"] == 4
    assert "realism" not in judged[5]
