"""People per second of the multi-view encoder and head, beside the naive way, with random weights.

    python benchmarks/multiview.py --size full --device cuda [--json]
    python benchmarks/multiview.py --size tiny --device cpu
    python benchmarks/multiview.py --size full --encoder instructblip siglip2 smolvlm --people 1 4 --cpu-time
    python benchmarks/multiview.py --size full --runners --people 48    # processes, jobs; SigLIP2 B/16

`full` has the true shapes (ViT-g/14 986 M, Q-Former 186 M parameters); the language model takes no part. "Naive" is
one `get_image_features` call of the library's own model (of the others, their image tower) a view per person, in the
same precision and run.
Encoding the scene once bounds the gain where arithmetic is the limit: 3n pictures against 1 + 2n (`pictures_ratio`).
The floor is FLOPs over the rate of a large matrix product measured here; `roofline_share` is floor over time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from emo_face.perception.multiview.config import VIEWS, EncoderConfig, FusionConfig
from emo_face.perception.multiview.encoders import FAMILIES
from emo_face.perception.multiview.encoders.cost import picture_flops
from emo_face.perception.multiview.encoders.instructblip import MultiViewEncoder, gather
from emo_face.perception.multiview.fusion_head import FusionHead

Clock = Callable[[], float]


TOWERS = {
    "siglip2": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "siglip2-so400m": {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
    },
    "smolvlm": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
}
"""As config.json of google/siglip2-base-patch16-224, siglip2-so400m-patch14-384 and SmolVLM-256M-Instruct has them."""
SIDES = {"siglip2": (224, 16), "siglip2-so400m": (384, 14), "smolvlm": (512, 16)}


def build(size: str, device: str, dtype: torch.dtype, kind: str = "instructblip") -> tuple[Any, Any, Any]:
    """(library model, our encoder, head): they share one copy of the weights."""
    from emo_face.perception.multiview.encoders.tiny import full_base, tiny_base

    torch.manual_seed(0)
    if kind in TOWERS:
        base = tower(size, kind).to(device, dtype)
        config = tower_config(base, kind)
        encoder: Any = FAMILIES[config.kind].build(base, config)
    else:
        if size == "full":
            base = full_base(0, device, str(dtype).removeprefix("torch."))
        else:
            base = tiny_base(image_size=56, width=64).to(device, dtype)
        side = int(base.config.vision_config.image_size)
        encoder = MultiViewEncoder(base.eval(), EncoderConfig(image_size=side, instruction_ids=tuple(range(4, 44))))
    encoder = encoder.to(device).eval()
    head = FusionHead(FusionConfig("emotic26", in_features=encoder.feature_size)).to(device).eval()
    return base, encoder, head


def tower(size: str, kind: str) -> Any:
    """An image tower with random weights, tiny or of the true shapes."""
    from transformers import SiglipVisionConfig, SiglipVisionModel
    from transformers.models.idefics3.modeling_idefics3 import Idefics3VisionConfig, Idefics3VisionTransformer

    from fixtures.tiny_encoders import tiny_siglip

    if size != "full" and kind != "smolvlm":
        return tiny_siglip(image_size=56, width=64).vision_model
    side, patch = SIDES[kind]
    shape = {**TOWERS[kind], "image_size": side, "patch_size": patch}
    if kind == "smolvlm":
        small = {} if size == "full" else {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
        small |= {} if size == "full" else {"num_hidden_layers": 2, "image_size": 64}
        return Idefics3VisionTransformer(Idefics3VisionConfig(**{**shape, **small})).eval()
    return SiglipVisionModel(SiglipVisionConfig(**shape)).eval()


def tower_config(base: Any, kind: str = "siglip2") -> EncoderConfig:
    """Of the encoder around a tower."""
    return EncoderConfig(kind="smolvlm" if kind == "smolvlm" else "siglip2", image_size=int(base.config.image_size))


def flops(base: Any, pictures: int) -> float:
    """FLOPs of image encoder and Q-Former for so many pictures, with a 40-token instruction."""
    return pictures * sum(picture_flops(base.config))


def seconds(
    works: Sequence[Callable[[], Any]], device: str, least: float, repeats: int = 3, clock: Clock = time.perf_counter
) -> list[float]:
    """Median time of each work, over at least ``repeats`` calls and ``least`` seconds; the caller has warmed them up.

    They take turns, so that other load on the machine falls on all of them.
    """
    times: list[list[float]] = [[] for _ in works]
    while len(times[0]) < repeats or sum(map(sum, times)) < least:
        for work, spent in zip(works, times, strict=True):
            _wait(device)
            start = clock()
            work()
            _wait(device)
            spent.append(clock() - start)
    return [sorted(spent)[len(spent) // 2] for spent in times]


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def matrix_rate(device: str, dtype: torch.dtype, clock: Clock = time.perf_counter) -> float:
    """FLOP/s of one large matrix product."""
    n = 8192 if device.startswith("cuda") else 1024
    a, b = torch.randn(n, n, device=device, dtype=dtype), torch.randn(n, n, device=device, dtype=dtype)
    a @ b
    return 2.0 * n**3 / seconds([lambda: a @ b], device, 0.5, 3, clock)[0]


def ways(
    base: Any, encoder: Any, head: Any, people: int, device: str, dtype: torch.dtype
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Two works that score the same people in the same random pictures: ours, and the naive way."""
    side = encoder.config.image_size
    numbers = {"scene": 1, "body": people, "face": people}
    pixels = {view: torch.randn(n, 3, side, side, device=device, dtype=dtype) for view, n in numbers.items()}
    index = torch.tensor([[0, i, i] for i in range(people)], device=device)
    present = torch.ones(people, len(VIEWS), device=device)

    def ours() -> Any:
        return head(gather(encoder.pool(encoder(pixels)), index, VIEWS), present)[0]

    def library(view: Any) -> Any:
        if not encoder.config.tuned_on_corpus:
            return base(pixel_values=view).last_hidden_state.float().mean(1)
        seen = base.get_image_features(view, encoder.instruction[None]).qformer_outputs[0]
        return seen[:, : base.config.num_query_tokens].float().mean(1)

    def naive() -> Any:
        found = []
        for i in range(people):
            views = [pixels["scene"], pixels["body"][i : i + 1], pixels["face"][i : i + 1]]
            found.append(torch.stack([library(view) for view in views], 1))
        return head(torch.cat(found), present)[0]

    return ours, naive


def compare(
    ours: Callable[[], Any], naive: Callable[[], Any], people: int, floor: float, timed: Callable[..., list[float]]
) -> dict[str, float]:
    """One row of the benchmark; ``floor`` in seconds. Raises RuntimeError where scores are not finite."""
    found = ours()  # the warm-up of both, too
    difference = float((found - naive()).abs().max())
    if not math.isfinite(difference):
        raise RuntimeError("scores are not finite: nothing can be compared")
    fast, slow = timed([ours, naive])
    return {
        "ours": people / fast,
        "naive": people / slow,
        "ratio": slow / fast,
        "roofline_share": floor / fast,
        "ms": 1000 * fast,
        "difference": difference,
        "spread": float(found.std()),
    }


@torch.inference_mode()
def measure(
    size: str,
    device: str,
    counts: list[int],
    least: float,
    repeats: int = 3,
    clock: Clock = time.perf_counter,
    kind: str = "instructblip",
) -> dict[str, Any]:
    """The whole benchmark as one JSON object."""
    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    base, encoder, head = build(size, device, dtype, kind)
    rate = matrix_rate(device, dtype, clock)
    timed = partial(seconds, device=device, least=2 * least, repeats=repeats, clock=clock)
    rows = {}
    for people in counts:
        works = ways(base, encoder, head, people, device, dtype)
        rows[str(people)] = compare(*works, people, flops(base, 1 + 2 * people) / rate, timed)
    cuda, threads = device.startswith("cuda"), torch.get_num_threads()
    return {
        "encoder": kind,
        "size": size,
        "device": torch.cuda.get_device_name() if cuda else f"cpu, {threads} threads",
        "clock": clock.__name__,
        "dtype": str(dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "matrix_tflops": rate / 1e12,
        "tflop_a_view": flops(base, 1) / 1e12,
        "people_per_s": {n: {"ours": row["ours"], "naive": row["naive"]} for n, row in rows.items()},
        **{name: {n: row[name] for n, row in rows.items()} for name in ("ratio", "roofline_share", "ms")},
        "pictures_ratio": {n: 3 * int(n) / (1 + 2 * int(n)) for n in rows},
        "largest_difference": max(row["difference"] for row in rows.values()),
        "score_spread": max(row["spread"] for row in rows.values()),
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def main() -> int:
    """Print the benchmark; exit code 2 where the device is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("full", "tiny"), default="tiny")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--people", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=2.0, help="least time a measurement takes (default 2)")
    parser.add_argument("--repeats", type=int, default=3, help="least calls a measurement takes (default 3)")
    parser.add_argument(
        "--cpu-time", action="store_true", help="one thread, and its CPU time: other load does not count (CPU only)"
    )
    parser.add_argument("--encoder", choices=("instructblip", *TOWERS), nargs="+", default=["instructblip"])
    parser.add_argument("--runners", action="store_true", help="the feature cache by each runner, instead")
    parser.add_argument("--shards", type=int, default=16, help="of --runners (default 16)")
    parser.add_argument("--json", action="store_true", help="print only JSON")
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print("multiview: no CUDA device here; run with --device cpu", file=sys.stderr)
        return 2
    if args.runners:
        return runners(args)
    clock: Clock = time.perf_counter
    if args.cpu_time:
        torch.set_num_threads(1)  # with more, waiting threads would count
        clock = time.process_time
    for kind in args.encoder:
        found = measure(args.size, args.device, args.people, args.seconds, args.repeats, clock, kind)
        print(json.dumps(found) if args.json else printed(found))
    return 0


def printed(found: dict[str, Any]) -> str:
    """A line per number of people, between what was run and how far the scores are apart."""
    lines = [
        f"{found['encoder']}, {found['size']}, {found['parameters'] / 1e6:.3g} M parameters,",
        f"on {found['device']}, {found['dtype']},",
        f"{found['tflop_a_view']:.2g} TFLOP a view, {found['matrix_tflops']:.2f} TFLOP/s in a matrix product",
    ]
    for n, row in found["people_per_s"].items():
        ratio, share = found["ratio"][n], 100 * found["roofline_share"][n]
        one = f"{n:>3s} people: {row['ours']:8.2f} /s, naive {row['naive']:8.2f} /s"
        lines.append(f"{one}, {ratio:.2f}x, floor {share:.0f} %")
    apart = f"scores differ by {found['largest_difference']:.1e} at most"
    return "\n".join([*lines, f"{apart}, {found['memory_gb']:.1f} GB at peak"])


def runners(args: argparse.Namespace) -> int:
    """Print what each runner is worth for the feature cache, on SigLIP2's tower."""
    import multiview_runners

    own = str(Path(__file__).parent)  # jobs of a cluster import the benchmark's module too
    os.environ["PYTHONPATH"] = os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])])
    base = tower(args.size, "siglip2")
    with tempfile.TemporaryDirectory() as name:
        config = tower_config(base)
        found = multiview_runners.measure(Path(name), base, config, max(args.people), args.shards)
    print(json.dumps(found) if args.json else multiview_runners.printed(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
