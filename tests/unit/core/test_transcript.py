"""core/transcript.py: recognisers' conventions, each from what its makers publish or its users report."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_face.core.transcript import NotSpeech, clean, confidence, language, read


def test_control_characters_become_spaces_and_length_is_bounded() -> None:
    assert clean("a\x00b\r\n\x1b[31mred\u202e!", 100) == "a b [31mred!"
    assert len(clean("é" * 100_000, 101).encode()) == 100


@given(st.text(max_size=300), st.integers(16, 200))
def test_cleaned_text_is_always_safe(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert len(cleaned.encode("utf-8")) <= limit
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in cleaned)
    assert clean(cleaned, limit) == cleaned


@given(st.text(max_size=300))
def test_any_text_is_words_or_no_speech(text: str) -> None:
    try:
        found = read(text, 200)
    except NotSpeech:
        return
    assert found.text
    assert found.confidence is None or 0 <= found.confidence <= 1


# keyboard, typographic (word processors, Whisper), Windows-1252 as Latin-1, accent, modifier letter, full width
@pytest.mark.parametrize("mark", ["'", "\u2019", "\u0092", "\u00b4", "\u02bc", "\uff07"])
def test_apostrophes_of_every_kind_are_one(mark: str) -> None:
    assert read(f"I don{mark}t think it{mark}s bad", 200).text == "I don't think it's bad"


@pytest.mark.parametrize(
    "text",
    [
        "[BLANK_AUDIO]",
        "[ Silence ]",
        "[MUSIC PLAYING]",
        "(upbeat music)",
        "(speaking in foreign language)",
        "*coughs*",
        "<unk>",
        "[unk] [unk]",
        "\u266a \u266a",
        "\u266a [Music] \u266a",
        "<|nospeech|>",
        "(laughs)",
    ],
)
def test_marks_of_sounds_are_no_words(text: str) -> None:
    with pytest.raises(NotSpeech) as nothing:
        read(text, 200)
    assert nothing.value.reason == "speech_empty"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(laughs) that is not funny [door slams]", "that is not funny"),
        ("\u266a la la la \u266a", "la la la"),
        ("I *really* hate this", "I *really* hate this"),  # stress in a chat, no sound
        ("He said (and I agree) no", "He said (and I agree) no"),
        ("3 < 4 and 5 > 2, you know", "3 2, you know"),  # the price of a rule that knows no grammar
    ],
)
def test_marks_beside_words_are_left_out(text: str, words: str) -> None:
    assert read(text, 200).text == words


@pytest.mark.parametrize("text", ["Thanks for watching!", "THANK YOU FOR WATCHING.", "you", "Please subscribe."])
def test_phrases_of_silence(text: str) -> None:
    with pytest.raises(NotSpeech) as nothing:
        read(text, 200)
    assert nothing.value.reason == "speech_silence"
    assert read(f"I said to her {text}", 200).text


# vosk-api: Result(), PartialResult(), SetWords(True), SetMaxAlternatives(2); OpenAI's audio/transcriptions
# (verbose_json), which whisper.cpp's server and faster-whisper's answer with as well
@pytest.mark.parametrize(
    ("said", "words", "sure"),
    [
        ({"text": "i am so angry"}, "i am so angry", None),
        ({"result": [{"conf": 0.5, "word": "hi"}, {"conf": 1.0, "word": "you"}], "text": "hi there"}, "hi there", 0.75),
        ({"alternatives": [{"confidence": 301.5, "text": "hello"}, {"text": "yellow"}]}, "hello", None),
        ({"language": "english", "text": " Hi.", "segments": [{"avg_logprob": -0.5}]}, "Hi.", 0.6065),
        # gpt-4o-transcribe with include=["logprobs"] (OpenAI's API reference, audio/transcriptions)
        ({"text": "Hi", "logprobs": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}]}, "Hi", 0.6065),
        # whisper.cpp, `whisper-cli --output-json` (examples/cli/cli.cpp)
        (
            {
                "model": {"type": "base"},
                "result": {"language": "en"},
                "transcription": [{"offsets": {"from": 0, "to": 900}, "text": " Go"}, {"text": " away."}],
            },
            "Go away.",
            None,
        ),
        # sherpa-onnx, OfflineRecognitionResult::AsJsonString; SenseVoice fills lang, emotion and event
        ({"lang": "<|en|>", "emotion": "<|HAPPY|>", "text": "hello", "tokens": ["hel", "lo"]}, "hello", None),
        # WhisperLive, whisper_live/server.py: segments alone, times as texts
        ({"uid": "a", "segments": [{"start": "0.0", "text": " So glad", "completed": True}]}, "So glad", None),
        ([{"start": 0, "end": 1, "text": " one"}, {"start": 1, "end": 2, "text": " two"}], "one two", None),
        # whisper, transcribe(): likely words are speech, whatever no_speech_prob says
        ({"text": "Oh no", "segments": [{"no_speech_prob": 0.7, "avg_logprob": -0.2}]}, "Oh no", 0.8187),
        # Azure, "Speech to text REST API for short audio", format=detailed and simple
        (
            {"RecognitionStatus": "Success", "NBest": [{"Confidence": 0.97, "Lexical": "hi", "Display": "Hi."}]},
            "Hi.",
            0.97,
        ),
        ({"RecognitionStatus": "Success", "DisplayText": "What's that?", "Offset": 1900000}, "What's that?", None),
        # Google, recognize: a transcript per result; 0 is "confidence was not set" (SpeechRecognitionAlternative)
        (
            {
                "results": [
                    {"alternatives": [{"transcript": "to be", "confidence": 0.8}], "languageCode": "en-us"},
                    {"alternatives": [{"transcript": " or not"}, {"transcript": "oar knot"}], "languageCode": "en-us"},
                ]
            },
            "to be or not",
            0.8,
        ),
        ({"results": [{"alternatives": [{"transcript": "hello", "confidence": 0.0}], "isFinal": True}]}, "hello", None),
        # Google by the package SpeechRecognition, show_all=True
        ({"alternative": [{"transcript": "hello", "confidence": 0.9}, {"transcript": "yellow"}]}, "hello", 0.9),
        # Riva, StreamingRecognizeResponse by MessageToDict(preserving_proto_field_name=True); Watson: final
        (
            {"results": [{"alternatives": [{"transcript": "go ", "confidence": 0.5}], "is_final": True}]},
            "go",
            0.5,
        ),
        # Deepgram, LiveTranscriptionEvent, and its answer to a file
        (
            {
                "type": "Results",
                "is_final": True,
                "speech_final": False,
                "channel": {"alternatives": [{"transcript": "hi", "confidence": 0.8, "words": [{"word": "hi"}]}]},
            },
            "hi",
            0.8,
        ),
        ({"metadata": {}, "results": {"channels": [{"alternatives": [{"transcript": "hi"}]}]}}, "hi", None),
        # AWS Transcribe, streaming and of a file
        ({"Transcript": {"Results": [{"IsPartial": False, "Alternatives": [{"Transcript": "Hi."}]}]}}, "Hi.", None),
        ({"status": "COMPLETED", "results": {"transcripts": [{"transcript": "Hi."}], "items": []}}, "Hi.", None),
        # DeepSpeech 0.9, client.py --json: a sum of logits for a confidence
        (
            {"transcripts": [{"confidence": -141.8, "words": [{"word": "how"}, {"word": "are"}, {"word": "you"}]}]},
            "how are you",
            None,
        ),
        # Kaldi's GStreamer server; Speechmatics, AddTranscript; OVOS, recognizer_loop:utterance; AssemblyAI
        ({"status": 0, "result": {"hypotheses": [{"transcript": "Hi."}], "final": True}}, "Hi.", None),
        (
            {"message": "AddTranscript", "results": [{"alternatives": [{"content": "Hi", "confidence": 0.5}]}]},
            "Hi",
            0.5,
        ),
        (
            {"type": "recognizer_loop:utterance", "data": {"utterances": ["hi there"], "lang": "en-us"}},
            "hi there",
            None,
        ),
        ({"status": "completed", "text": "Hi.", "confidence": 0.75, "words": [{"text": "Hi."}]}, "Hi.", 0.75),
        # OpenAI, realtime transcription
        ({"type": "conversation.item.input_audio_transcription.completed", "transcript": "Hi."}, "Hi.", None),
    ],
)
def test_json_of_recognisers(said: object, words: str, sure: float | None) -> None:
    found = read(json.dumps(said), 200)
    assert found.language in ("", "en")
    assert found.text == words
    assert found.confidence == (None if sure is None else pytest.approx(sure, abs=1e-3))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"partial": "i am so"}', "speech_partial"),
        ('{"type": "partial", "text": "Hello how"}', "speech_partial"),
        ('{"is_final": false, "text": "Hello how"}', "speech_partial"),
        ('{"segments": [{"text": "one", "completed": true}, {"text": "tw", "completed": false}]}', "speech_partial"),
        # Google leaves is_final out where it is false; AWS, Speechmatics, AssemblyAI, OpenAI's stream, RealtimeSTT
        ('{"results": [{"alternatives": [{"transcript": "to be"}], "stability": 0.9}]}', "speech_partial"),
        ('{"Transcript": {"Results": [{"IsPartial": true, "Alternatives": []}]}}', "speech_partial"),
        ('{"message": "AddPartialTranscript", "results": []}', "speech_partial"),
        ('{"type": "Turn", "transcript": "to be", "end_of_turn": false}', "speech_partial"),
        ('{"type": "transcript.text.delta", "delta": "to"}', "speech_partial"),
        ('{"type": "realtime", "text": "to be"}', "speech_partial"),
        ('{"RecognitionStatus": "NoMatch", "DisplayText": ""}', "speech_empty"),  # Azure
        ('{"text": ' + '{"text": ' * 900 + '"a"' + "}" * 901, "speech_json"),
        ('{"results": ' + "[" * 400 + '"a"' + "]" * 400 + "}", "speech_empty"),
        ('{"text": "", "confidence": 1' + "0" * 400 + "}", "speech_empty"),
        ('[{"speaker": 1}]', "speech_empty"),
        ('[{"text": null}]', "speech_empty"),
        ('{"text": ""}', "speech_empty"),
        ('{"text": 3}', "speech_json"),
        ('{"type": "speech_started"}', "speech_json"),
        ('{"text": "thanks", "segments": [{"no_speech_prob": 0.9}]}', "speech_silence"),
        ('{"text": "oh", "segments": [{"no_speech_prob": 0.9, "avg_logprob": -1.5}]}', "speech_silence"),
        ('{"text": "' + "a" * 70_000 + '"}', "speech_json"),
    ],
)
def test_json_that_says_nothing(text: str, reason: str) -> None:
    with pytest.raises(NotSpeech) as nothing:
        read(text, 200)
    assert nothing.value.reason == reason


def test_braces_that_are_no_json_are_words() -> None:
    assert read("{sigh} fine", 200).text == "{sigh} fine"


def test_brackets_without_end_cost_no_time() -> None:
    assert read('{"a":' * 10_000, 200).text
    assert read("hello " + "(*[<" * 5_000, 65536).text


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0.0, None),
        (-1.0, None),
        (1.0, 1.0),
        (1.0000001, 1.0),
        (50.0, 0.5),
        (100.0, 1.0),
        (101.0, 0.0),
        (-0.3, 0.7408),
        (float("nan"), 0.0),
        (float("inf"), 0.0),
        (float("-inf"), 0.0),
    ],
)
def test_confidence_by_convention(value: float, wanted: float | None) -> None:
    assert confidence(value) == (None if wanted is None else pytest.approx(wanted, abs=1e-4))


@pytest.mark.parametrize(
    ("locale", "code"),
    [
        ("en_GB", "en"),
        ("de-DE", "de"),
        ("it", "it"),
        ("nl_NL.UTF-8", "nl"),
        ("English", "en"),
        ("", ""),
        ("auto", ""),
        ("zh-Hans", "zh"),
        ("C", ""),
    ],
)
def test_language_of_a_locale(locale: str, code: str) -> None:
    assert language(locale) == code
