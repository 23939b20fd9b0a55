"""A folder of synthetic scenes and a tiny InstructBLIP that knows their words."""

from __future__ import annotations

from emo_face.datasets.qa import corpus
from emo_face.datasets.views import MultiViewCollator, Pictures
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.encoders.tiny import tiny_base
from emo_face.perception.multiview.vlm import MultiViewVLM
from fixtures import scenes as synthetic_scenes
from fixtures.tiny_encoders import word_tokenizer


class World:
    """Records, rows, tokenizer and models over one small synthetic data set."""

    def __init__(self, folder):
        self.root = folder
        self.records = synthetic_scenes.make(folder, 40, seed=0)
        self.rows = corpus.build(self.records, tasks=("classification", "pose"), balance=False).rows
        texts = [row.question for row in self.rows] + [row.answer for row in self.rows]
        self.tokenizer = word_tokenizer(synthetic_scenes.words(texts))
        self.vocabulary = len(self.tokenizer) + 1
        self.config = EncoderConfig(image_size=28)

    def vlm(self, seed=0, config=None):
        return MultiViewVLM(tiny_base(seed, vocabulary=self.vocabulary), config or self.config)

    def collator(self, config=None):
        pictures = Pictures.of(self.root, config or self.config, self.records)
        return MultiViewCollator(pictures, self.tokenizer, self.tokenizer)

    def split(self, name):
        return [row for row in self.rows if row.record.split == name]
