"""Train the multi-view emotion model: Stage 1, feature cache, Stage 2.

    emo-face data convert --set emotic --root EMOTIC --to emotic.jsonl
    emo-face data qa --records emotic.jsonl --to qa.jsonl
    accelerate launch export/train_multiview.py stage1 --base BLIP --images EMOTIC --corpus qa.jsonl --out out/stage1 \\
        --precision bf16 --checkpointing
    python export/train_multiview.py cache --base BLIP --images EMOTIC --records emotic.jsonl \\
        --encoder out/stage1/best --out out/features
    python export/train_multiview.py stage2 --records emotic.jsonl --cache out/features --encoder out/stage1/best \\
        --vad --out out/multiview
    python export/export_multiview.py --base BLIP --model out/multiview --out out/export --fp16

BLIP is a folder with the files of Salesforce/instructblip-vicuna-7b. Every step can be killed and started again.
"""

from __future__ import annotations

import sys

from emo_face.training.multiview.main import parser, run

if __name__ == "__main__":
    sys.exit(run(parser(__doc__).parse_args()))
