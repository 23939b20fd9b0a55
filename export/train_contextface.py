"""Train ContextFace on CAER-S-C (or any annotated set) and LLaVA-Instruct.

    emo-face annotate context --help        situations and quotes for pictures that have none
    emo-face data targets --help            face targets from outputs of INFERNO, EMOCA or SMIRK
    accelerate launch export/train_contextface.py --backbone llava-1.5-13b-hf --contexts caer_s_c --images CAER-S \\
        --targets targets.npz --vqa llava_instruct_150k.json --vqa-images train2017 --precision bf16 --checkpointing \\
        --out out/contextface
    python export/train_contextface.py --backbone llava-1.5-7b-hf --quantisation 4bit ...       QLoRA on one GPU
    emo-face express --model out/contextface/best --quote "We won!"

A run that was killed goes on when it is started again with the same arguments.
"""

from __future__ import annotations

import sys

from emo_face.training.contextface.main import parser, run

if __name__ == "__main__":
    sys.exit(run(parser(__doc__).parse_args()))
