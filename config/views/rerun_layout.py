"""A recording of the graph in Rerun: camera, what was heard, scores, answer, face, latency.

    pip install ".[rerun]"                                          `rerun analytics disable`: no usage reports
    python config/views/rerun_layout.py out/demo.mcap               opens the viewer
    python config/views/rerun_layout.py out/demo.mcap --save x.rrd  recording and layout in one file, to share
    python config/views/rerun_layout.py --save face.rbl             the layout alone

Any MCAP of `ros2 bag record -s mcap` will do. Rerun reads our messages by the definitions that are in the file.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import rerun as rr
import rerun.blueprint as rrb
from rerun.blueprint.encodings import ComponentSourceKind, VisualizerComponentMapping

from emo_face.core.labels import basic7, label_colour

APPLICATION = "emo_face"
SCORES = "emo_face_msgs.msg.EmotionScoresArray:message"
ANSWER = "emo_face_msgs.msg.FaceExpression:message"


def field(slot: str, component: str, selector: str) -> VisualizerComponentMapping:
    """Where a visualizer finds what it shows: a field of a message."""
    source = ComponentSourceKind.SourceComponent
    return VisualizerComponentMapping(slot, source, source_component=component, selector=selector)


def plot(name: str, topic: str, component: str, lines: Mapping[str, tuple[str, str]], top: float | None = 1.0):
    """Fields of a message over time. ``lines``: name -> (selector, colour)."""
    curves = []
    for label, (selector, colour) in lines.items():
        series = rr.SeriesLines(names=label, colors=int(colour[1:] + "ff", 16), widths=2.0)
        curves.append(series.visualizer(mappings=[field("Scalars:scalars", component, selector)]))
    axis = rrb.ScalarAxis(range=(0.0, top)) if top else None
    return rrb.TimeSeriesView(name=name, origin=topic, overrides={topic: curves}, axis_y=axis)


def states(name: str, topic: str, selector: str) -> rrb.StateTimelineView:
    """A field of text over time, as coloured lanes."""
    lane = rr.StateConfiguration().visualizer(mappings=[field("StateChange:state", ANSWER, selector)])
    return rrb.StateTimelineView(name=name, origin=topic, overrides={topic: [lane]})


def layout() -> rrb.Blueprint:
    """What is seen and heard to the left, what is made of it to the right."""
    emotions = {name: (f".people[0].probabilities[{i}]", label_colour(name)) for i, name in enumerate(basic7().labels)}
    answer = {"strength": (".strength", "#0072b2"), "intensity": (".intensity", "#d55e00")}
    latency = {"to scores": (".latency.nanosec", "#0072b2")}
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(
                rrb.Spatial2DView(name="Camera", origin="/camera/image_raw/compressed"),
                rrb.TextDocumentView(name="Heard", origin="/speech/text"),
                row_shares=[3, 1],
            ),
            rrb.Vertical(
                plot("What the first person feels", "/emotion/scores", SCORES, emotions),
                plot("How strongly the face shows it", "/face/expression", ANSWER, answer),
                states("The person feels", "/face/expression", ".person_emotion"),
                states("The face shows", "/face/expression", ".shown"),
                plot("Latency, ns", "/emotion/scores", SCORES, latency, None),
            ),
        ),
        collapse_panels=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", nargs="?", type=Path, help="an .mcap file")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write .rrd (or .rbl without a recording) instead")
    args = parser.parse_args()
    if args.recording is None:
        layout().save(APPLICATION, str(args.save or "emo_face.rbl"))
        return
    rr.init(APPLICATION, spawn=args.save is None, default_blueprint=layout())
    if args.save:
        rr.save(args.save, default_blueprint=layout())
    rr.log_file_from_path(args.recording)


if __name__ == "__main__":
    main()
