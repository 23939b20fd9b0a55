"""Small models for words whose processors also take videos: Qwen3-VL and SmolVLM2 of true architecture, tiny."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from emo_face.cli import main as cli
from emo_face.core.errors import ModelError
from emo_face.core.types import Box, Face, Person
from emo_face.perception.multiview import ask
from fixtures.tiny_encoders import save_tiny_smolvlm, word_tokenizer

# Qwen/Qwen3-VL-2B-Instruct: chat_template.json without tools, preprocessor_config.json, video_preprocessor_config.json
QWEN_CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}{% for content in message.content %}"
    "{% if content.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content.text }}{% endif %}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN_PICTURES = {
    "size": {"longest_edge": 16777216, "shortest_edge": 65536},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "Qwen3VLProcessor",
    "image_processor_type": "Qwen2VLImageProcessorFast",
}
QWEN_VIDEOS = {**QWEN_PICTURES, "video_processor_type": "Qwen3VLVideoProcessor"}
FACE = Person("p", 1.0, Box(10, 20, 30, 40), Face(Box(15, 25, 10, 10), 1.0))


def save_qwen3_vl(folder):
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    words = word_tokenizer(["user", "assistant", ":", "The", "scene", "person", "face", "Why", "?", "happy", "sad"])
    own = ["im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad"]
    words.add_special_tokens({"additional_special_tokens": [f"<|{name}|>" for name in own]})
    ids = {name: words.convert_tokens_to_ids(f"<|{name}|>") for name in own}
    shape = {"hidden_size": 32, "intermediate_size": 64}
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    text = {"vocab_size": len(words), "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    text |= {"head_dim": 8, "rope_parameters": rope, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    vision = {"depth": 2, "num_heads": 4, "out_hidden_size": 32, "deepstack_visual_indexes": [0]}
    vision |= {"patch_size": 16, "num_position_embeddings": 64}
    places = {f"{name}_token_id": ids[f"{name}_pad"] for name in ("image", "video")}
    places |= {f"{name}_token_id": ids[name] for name in ("vision_start", "vision_end")}
    torch.manual_seed(0)
    config = Qwen3VLConfig(text_config=shape | text, vision_config=shape | vision, **places)
    Qwen3VLForConditionalGeneration(config).eval().save_pretrained(folder)
    words.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(QWEN_PICTURES))
    (folder / "video_preprocessor_config.json").write_text(json.dumps(QWEN_VIDEOS))
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": QWEN_CHAT}))


@pytest.fixture(scope="module", params=["qwen3_vl", "smolvlm2"])
def base(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    save_qwen3_vl(folder) if request.param == "qwen3_vl" else save_tiny_smolvlm(folder, family="SmolVLM")
    return folder


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is here")
def test_without_torchvision_the_line_says_how_to_get_it(base):
    with pytest.raises(ModelError, match=r"its processor lacks a library .* pip install torch==.* torchvision"):
        ask.load(base)


def test_it_answers_about_each_view(base, tmp_path, capsys):
    pytest.importorskip("torchvision")
    import cv2

    frame = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), frame)
    words = ["look", str(tmp_path / "a.png"), "--ask", "Why?", "--base", str(base), "--max-tokens", "6", "--json"]
    assert cli.main([*words, "--box", "10,20,30,40", "--face", "15,25,10,10"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]
    asker = ask.load(base)
    given, generate = [], asker.model.generate
    asker.model.generate = lambda **inputs: given.append(inputs) or generate(**inputs)
    "".join(asker.ask(frame, FACE, "Why?", max_new_tokens=2))
    pixels = given[0]["pixel_values"]
    if "image_grid_thw" in given[0]:
        assert len(given[0]["image_grid_thw"]) == 3  # scene, body, face
        assert given[0]["image_grid_thw"].prod(1).sum() == len(pixels)
    else:
        assert pixels.shape[:2] == (1, 3)
