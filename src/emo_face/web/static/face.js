// Draws a face of faces/<theme>.json on a canvas. Only what moved is painted again.
// The same file is read by emo_face/face/sketch.py; keep the two in step.
import { bend, bounds, merge, overlap, segment, trace } from './shapes.js';

const MOVED = 0.25;   // pixels since it was last painted that can be seen
const FADED = 0.012;  // of opacity
const SLIGHT = 0.1;   // share of that which is painted along when something else moved
const SETTLED = 0.02; // pixels that an outline's point may be off

export class FaceView {
  constructor(canvas, channels) {
    this.canvas = canvas;
    this.ctx = canvas.getContext('2d', { alpha: false });
    // Large painted parts behind everything else are kept as a picture: copying is ten times cheaper than a gradient.
    this.back = document.createElement('canvas').getContext('2d', { alpha: false });
    this.channels = channels;
    this.values = new Float32Array(channels.length);
  }

  load(face, mode) {
    const index = new Map(this.channels.map((name, i) => [name, i]));
    this.face = face;
    this.rest = Float32Array.from(face.points);
    this.now = new Float32Array(this.rest.length);
    this.morphs = face.morphs.map(({ of, move = [], style = [] }) => {
      const n = move.length / 3;
      const at = new Uint16Array(n), dx = new Float32Array(n), dy = new Float32Array(n);
      for (let i = 0; i < n; i++) [at[i], dx[i], dy[i]] = move.slice(3 * i, 3 * i + 3);
      return { of: of.map((name) => index.get(name)), at, dx, dy, style };
    });
    this.parts = face.parts.map((part) => {
      const path = Uint16Array.from(part.path);
      const sharp = new Uint8Array(path.length);
      for (const c of part.corners ?? []) sharp[c] = 1;
      return {
        ...part, path, sharp, closed: !part.open, xy: new Float32Array(2 * path.length), handles: new Float32Array(4 * path.length),
        box: [0, 0, -1, -1], shownAlpha: 0, shownLine: 0, alpha: 1, line: 0, restAlpha: part.opacity ?? 1, restLine: part.width ?? 0,
      };
    });
    this.behind = 1 + this.parts.findLastIndex(({ fill }) => fill?.over);
    this.setMode(mode);
  }

  setMode(mode) {
    this.colours = this.face.palette[mode];
    for (const part of this.parts) part.paint = this.paint(part.fill);
    this.canvas.style.background = this.colours.background;
    this.stale = true;
  }

  // A gradient lives in a unit square that is stretched over the part when it is filled.
  paint(fill) {
    if (!fill || typeof fill === 'string') return fill ? this.colours[fill] : null;
    const gradient = fill.gradient === 'down' ? this.ctx.createLinearGradient(0, 0, 0, 1) : this.ctx.createRadialGradient(0, 0, 0, 0, 0, 1);
    for (const [offset, name, alpha] of fill.stops) {
      gradient.addColorStop(offset, this.colours[name] + Math.round(alpha * 255).toString(16).padStart(2, '0'));
    }
    return gradient;
  }

  resize(ratio = Math.min(window.devicePixelRatio || 1, 3)) {
    const width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (width === this.canvas.width && height === this.canvas.height) return;
    this.canvas.width = this.back.canvas.width = width;
    this.canvas.height = this.back.canvas.height = height;
    this.stale = true;
  }

  // Shows 52 values in [0, 1]; returns whether anything was painted.
  show(values) {
    this.values.set(values);
    this.pose(values);
    const { seen, behind } = this.place();
    if (this.stale) {
      this.stale = false;
      const all = [[0, 0, this.canvas.width, this.canvas.height]];
      this.draw(all, all);
      return true;
    }
    if (seen.length) this.draw(seen, behind);
    return seen.length > 0;
  }

  pose(values) {
    const { now } = this;
    now.set(this.rest);
    for (const part of this.parts) { part.alpha = part.restAlpha; part.line = part.restLine; }
    for (const { of, at, dx, dy, style } of this.morphs) {
      let weight = 1;
      for (const c of of) weight *= values[c];
      if (weight < 1e-4) continue;
      for (let i = 0; i < at.length; i++) { now[2 * at[i]] += weight * dx[i]; now[2 * at[i] + 1] += weight * dy[i]; }
      for (const [index, alpha, line] of style) { this.parts[index].alpha += weight * alpha; this.parts[index].line += weight * line; }
    }
    for (const [upper, lower] of this.face.order) {
      const a = now[2 * upper + 1], b = now[2 * lower + 1];
      if (a > b) now[2 * upper + 1] = now[2 * lower + 1] = (a + b) / 2;
    }
  }

  // Moves every part to pixels and returns the boxes that must be painted again: none while nothing moved
  // visibly, else of all parts that moved at all, so that a slow face is painted seldom and then as a whole.
  place() {
    const { width, height } = this.canvas;
    const [x, y, w, h] = this.face.view;
    const scale = Math.min(width / w, height / h);
    this.frame = { scale, ox: width / 2 - (x + w / 2) * scale, oy: height / 2 - (y + h / 2) * scale };
    let most = this.stale ? Infinity : 0;
    for (const part of this.parts) most = Math.max(most, part.change = this.change(part));
    const seen = [], behind = [];
    if (most < 1) return { seen, behind };
    this.parts.forEach((part, index) => {
      if (part.change < SLIGHT && !this.stale) return;
      for (const box of this.settle(part)) {
        merge(seen, box);
        if (index < this.behind) merge(behind, box);
      }
    });
    return { seen, behind };
  }

  // How far a part is from what was painted; 1 can be seen.
  change(part) {
    const { path, xy } = part, { scale, ox, oy } = this.frame;
    part.alpha = Math.min(1, Math.max(0, part.alpha));
    part.line = Math.max(0, part.line);
    if (part.alpha === 0 && part.shownAlpha === 0) return 0;
    let most = 0;
    for (let i = 0; i < path.length; i++) {
      most = Math.max(most, Math.abs(this.now[2 * path[i]] * scale + ox - xy[2 * i]), Math.abs(this.now[2 * path[i] + 1] * scale + oy - xy[2 * i + 1]));
    }
    return Math.max(Math.max(most, Math.abs(part.line * scale - part.shownLine)) / MOVED, Math.abs(part.alpha - part.shownAlpha) / FADED);
  }

  // Takes a part's pose over; returns the boxes in which it looks different now.
  settle(part) {
    const { path, xy } = part, { scale, ox, oy } = this.frame, n = path.length;
    const before = part.box, wasSeen = part.shownAlpha > 0;
    // A large part whose paint stays in place changes along its outline only, where a point or a neighbour moved.
    const outline = wasSeen && part.fill?.over && part.alpha === part.shownAlpha && !this.stale ? new Set() : null;
    for (let i = 0; i < n; i++) {
      const x = this.now[2 * path[i]] * scale + ox, y = this.now[2 * path[i] + 1] * scale + oy;
      if (outline && Math.abs(x - xy[2 * i]) + Math.abs(y - xy[2 * i + 1]) > SETTLED) {
        for (let k = -2; k < 2; k++) outline.add((i + k + n) % n);
      }
    }
    const changed = outline ? [...outline] : [];
    const boxes = changed.map((i) => segment(part, i));
    for (let i = 0; i < n; i++) {
      xy[2 * i] = this.now[2 * path[i]] * scale + ox;
      xy[2 * i + 1] = this.now[2 * path[i] + 1] * scale + oy;
    }
    bend(part);
    part.box = bounds(part, (part.line * scale) / 2 + 2);
    if (part.fill?.over) {
      const [top, bottom] = part.fill.over;
      part.span[1] = top * scale + oy;
      part.span[3] = (bottom - top) * scale;
    }
    part.shownAlpha = part.alpha;
    part.shownLine = part.line * scale;
    if (outline) return boxes.concat(changed.map((i) => segment(part, i)));
    return [...(wasSeen ? [before] : []), ...(part.alpha > 0 ? [part.box] : [])];
  }

  draw(seen, behind) {
    const { ctx, back } = this, front = this.parts.slice(this.behind);
    if (this.behind) {
      for (const box of behind) {
        this.within(back, box, () => { back.fillStyle = this.colours.background; back.fillRect(...whole(box)); }, this.parts.slice(0, this.behind));
      }
    }
    for (const box of seen) {
      this.within(ctx, box, () => {
        if (this.behind) { const at = whole(box); ctx.drawImage(back.canvas, ...at, ...at); return; }
        ctx.fillStyle = this.colours.background;
        ctx.fillRect(...whole(box));
      }, front);
    }
  }

  within(ctx, box, clear, parts) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(...whole(box));
    ctx.clip();
    clear();
    ctx.lineCap = ctx.lineJoin = 'round';
    for (const part of parts) if (part.shownAlpha > 0 && overlap(box, part.box)) this.drawPart(ctx, part);
    ctx.restore();
  }

  drawPart(ctx, part) {
    const clip = part.clip === undefined ? null : this.parts[part.clip];
    if (clip) {
      ctx.save();
      trace(ctx, clip);
      ctx.clip();
    }
    ctx.globalAlpha = part.shownAlpha;
    trace(ctx, part);
    if (part.paint) {
      ctx.fillStyle = part.paint;
      const { span: [x, y, w, h] } = part;
      if (typeof part.fill === 'string') ctx.fill();
      else {
        // The path keeps its pixels; only the paint is stretched.
        if (part.fill.gradient === 'down') ctx.setTransform(w, 0, 0, h, x, y);
        else ctx.setTransform(w / 2, 0, 0, h / 2, x + w / 2, y + h / 2);
        ctx.fill();
        ctx.setTransform(1, 0, 0, 1, 0, 0);
      }
    }
    if (part.stroke && part.shownLine > 0.2) {
      ctx.strokeStyle = this.colours[part.stroke];
      ctx.lineWidth = part.shownLine;
      ctx.stroke();
    }
    ctx.globalAlpha = 1;
    if (clip) ctx.restore();
  }
}

// x, y, width and height of a box in whole pixels, so that its edges are not blended.
function whole([x0, y0, x1, y1]) {
  const x = Math.floor(x0), y = Math.floor(y0);
  return [x, y, Math.ceil(x1) - x, Math.ceil(y1) - y];
}
