"""The page around the plots of a recording: its film, what happened when, and the figures with their names."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from emo_face.recording.moments import Moment

NAMES = {
    "frames_in": "Frames that came in",
    "frames_processed": "Frames read",
    "frames_dropped": "Frames dropped in favour of a newer one",
    "persons_max": "People in view at once, at most",
    "scores_msgs": "Messages on /emotion/scores",
    "expression_msgs": "Messages on /face/expression",
    "latency_ms": "Camera to expression, ms",
    "detector": "Detector",
    "emotion_backend": "Emotion model",
    "expression_backend": "Expression model",
    "models": "Model files, sha256",
    "peak_rss_mb": "Memory of all nodes at most, MB",
}
"""Keys of the summary in words."""

STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--dim:#59636e;--line:#d1d9e0;--paper:#fff;--card:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9198a1;--line:#3d444d;--paper:#0d1117;--card:#151b23}}
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:1.5rem auto;padding:0 1rem;color:var(--ink);
background:var(--paper)}
h1{font-size:1.5rem;margin:0 0 1rem}h2{font-size:1.1rem;margin:1.6rem 0 .5rem}
video{width:100%;max-width:1080px;border-radius:8px;background:#000}
.wide{overflow-x:auto}#plots{min-width:46rem}table{border-collapse:collapse}
th,td{text-align:left;vertical-align:top;padding:.25rem 1.1rem .25rem 0;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--dim)}td{font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.story td:nth-child(2){min-width:14rem}
button{font:inherit;color:inherit;background:none;border:0;padding:0;text-decoration:underline;cursor:pointer}
button:focus-visible{outline:2px solid #4493f8}
@media(max-width:640px){.story tr{display:block;border-bottom:1px solid var(--line);padding:.4rem 0}
.story th,.story td:empty{display:none}.story td{display:block;border:0;padding:0}
.story td::before{content:attr(data-name)": ";color:var(--dim)}}
p{color:var(--dim);max-width:60rem}
"""

SCRIPT = """
const film=document.querySelector('video');
for(const b of document.querySelectorAll('button[data-at]'))b.onclick=()=>{film.currentTime=+b.dataset.at;film.play()};
const dark=matchMedia('(prefers-color-scheme: dark)');
function paint(){const ink=dark.matches?'#e6edf3':'#1f2328',grid=dark.matches?'#2d333b':'#e4e8ec';
const change={'font.color':ink};
for(let i=1;i<=6;i++)for(const a of ['xaxis','yaxis'])for(const what of ['gridcolor','zerolinecolor','linecolor'])
change[a+(i>1?i:'')+'.'+what]=grid;
change['hoverlabel.bgcolor']=dark.matches?'#151b23':'#fff';change['hoverlabel.font.color']=ink;
Plotly.relayout('plots',change)}
dark.addEventListener('change',paint);paint();
"""


def document(plots: str, summary: Mapping[str, Any], story: Sequence[Moment], film: str = "") -> str:
    """The whole page. ``plots``: HTML with the id ``plots``; ``film``: file beside the page, empty without one."""
    video = f'<video src="{html.escape(film)}" controls muted playsinline preload="metadata"></video>' if film else ""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(NAMES.get(key, key))}</th><td>{_value(value)}</td></tr>'
        for key, value in summary.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>emo_face: a run</title><style>{STYLE}</style></head><body><h1>emo_face: a run</h1>{video}"
        f"{_story(story, bool(film))}<h2>Over time</h2><div class='wide'>{plots}</div>"
        f'<h2>Figures</h2><div class="wide"><table>{rows}</table></div><script>{SCRIPT}</script></body></html>'
    )


def _story(story: Sequence[Moment], film: bool) -> str:
    if not story:
        return ""
    names = ("Second", "Heard", "Feels", "The face shows")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = ""
    for moment in story:
        cells = _second(moment.at, film), *map(html.escape, (moment.heard, _feels(moment), _shows(moment)))
        body += "".join(
            ["<tr>", *(f'<td data-name="{n}">{c}</td>' for n, c in zip(names, cells, strict=True)), "</tr>"]
        )
    note = "What is felt is read from face and words, and is wrong at times; what is shown is the robot's answer to it."
    return f'<h2>What happened</h2><p>{note}</p><table class="story"><tr>{head}</tr>{body}</table>'


def _second(at: float, film: bool) -> str:
    return f'<button data-at="{at:.2f}" title="play from here">{at:.1f}</button>' if film else f"{at:.1f}"


def _feels(moment: Moment) -> str:
    if not moment.who:
        return "nobody in view"
    return f"{moment.who}: {moment.feels} {moment.confidence:.0%}" if moment.feels else f"{moment.who}: not sure"


def _shows(moment: Moment) -> str:
    return f"{moment.shows} {moment.strength:.0%}" if moment.strength > 0 else moment.shows


def _value(value: Any) -> str:
    """Escaped HTML of a figure; a table of its own for several, a hash by its first twelve digits."""
    if isinstance(value, dict):
        return "<br>".join(f"{html.escape(str(key))}: {_value(part)}" for key, part in value.items())
    text = "" if value is None else str(value)
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return f'<span title="{text}">{text[:12]}…</span>'
    return html.escape(text)
