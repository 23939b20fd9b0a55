// Draws a face of faces/<theme>.json on a canvas. Only what moved is painted again.
// The same file is read by emo_face/face/sketch.py; keep the two in step.

const HANDLE = 0.375; // of the distance to the next point: eight points make a circle
const MOVED = 0.25;   // pixels since it was last painted that can be seen
const FADED = 0.012;  // of opacity
const SLIGHT = 0.1;   // share of that which is painted along when something else moved

export class FaceView {
  constructor(canvas, channels) {
    this.canvas = canvas;
    this.ctx = canvas.getContext('2d', { alpha: false });
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
    this.canvas.width = width;
    this.canvas.height = height;
    this.stale = true;
  }

  // Shows 52 values in [0, 1]; returns whether anything was painted.
  show(values) {
    this.values.set(values);
    this.pose(values);
    const dirty = this.place();
    if (this.stale) {
      this.stale = false;
      this.draw([[0, 0, this.canvas.width, this.canvas.height]]);
      return true;
    }
    if (dirty.length) this.draw(dirty);
    return dirty.length > 0;
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
    const dirty = [];
    if (most < 1) return dirty;
    for (const part of this.parts) {
      if (part.change < SLIGHT && !this.stale) continue;
      const before = part.box, wasSeen = part.shownAlpha > 0;
      this.settle(part);
      if (wasSeen) merge(dirty, before);
      if (part.shownAlpha > 0) merge(dirty, part.box);
    }
    return dirty;
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

  settle(part) {
    const { path, xy } = part, { scale, ox, oy } = this.frame;
    for (let i = 0; i < path.length; i++) {
      xy[2 * i] = this.now[2 * path[i]] * scale + ox;
      xy[2 * i + 1] = this.now[2 * path[i] + 1] * scale + oy;
    }
    bend(part);
    part.box = bounds(part, (part.line * scale) / 2 + 2);
    part.shownAlpha = part.alpha;
    part.shownLine = part.line * scale;
  }

  draw(dirty) {
    const { ctx, canvas } = this;
    ctx.save();
    ctx.beginPath();
    for (const [x0, y0, x1, y1] of dirty) {
      const x = Math.floor(x0), y = Math.floor(y0);
      ctx.rect(x, y, Math.ceil(x1) - x, Math.ceil(y1) - y);
    }
    ctx.clip();
    ctx.fillStyle = this.colours.background;
    ctx.fillRect(0, 0, canvas.width, canvas.height);
    ctx.lineCap = ctx.lineJoin = 'round';
    for (const part of this.parts) {
      if (part.shownAlpha > 0 && dirty.some((box) => overlap(box, part.box))) this.drawPart(part);
    }
    ctx.restore();
  }

  drawPart(part) {
    const { ctx } = this;
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

// Bezier handles of a smooth curve whose handles scale with the distance to their neighbour.
function bend(part) {
  const { xy, handles, sharp, closed } = part;
  const n = xy.length / 2;
  for (let i = 0; i < n; i++) {
    const a = i > 0 ? i - 1 : closed ? n - 1 : 0;
    const b = i < n - 1 ? i + 1 : closed ? 0 : n - 1;
    const x = xy[2 * i], y = xy[2 * i + 1];
    const lenIn = Math.hypot(x - xy[2 * a], y - xy[2 * a + 1]), lenOut = Math.hypot(xy[2 * b] - x, xy[2 * b + 1] - y);
    const k = sharp[i] ? 0 : HANDLE / Math.max(lenIn + lenOut, 1e-6);
    const tx = k * (xy[2 * b] - xy[2 * a]), ty = k * (xy[2 * b + 1] - xy[2 * a + 1]);
    handles[4 * i] = x - tx * lenIn;
    handles[4 * i + 1] = y - ty * lenIn;
    handles[4 * i + 2] = x + tx * lenOut;
    handles[4 * i + 3] = y + ty * lenOut;
  }
}

function trace(ctx, { xy, handles, closed }) {
  const n = xy.length / 2;
  ctx.beginPath();
  ctx.moveTo(xy[0], xy[1]);
  for (let i = 0; i < (closed ? n : n - 1); i++) {
    const j = i + 1 < n ? i + 1 : 0;
    ctx.bezierCurveTo(handles[4 * i + 2], handles[4 * i + 3], handles[4 * j], handles[4 * j + 1], xy[2 * j], xy[2 * j + 1]);
  }
  if (closed) ctx.closePath();
}

// Box that holds the curve (its points and handles); also sets the span of the points, over which paint is stretched.
function bounds(part, margin) {
  let x0 = Infinity, y0 = Infinity, x1 = -Infinity, y1 = -Infinity;
  const { xy, handles } = part;
  for (let i = 0; i < xy.length; i += 2) {
    x0 = Math.min(x0, xy[i]); x1 = Math.max(x1, xy[i]);
    y0 = Math.min(y0, xy[i + 1]); y1 = Math.max(y1, xy[i + 1]);
  }
  part.span = [x0, y0, Math.max(x1 - x0, 1e-3), Math.max(y1 - y0, 1e-3)];
  for (let i = 0; i < handles.length; i += 2) {
    x0 = Math.min(x0, handles[i]); x1 = Math.max(x1, handles[i]);
    y0 = Math.min(y0, handles[i + 1]); y1 = Math.max(y1, handles[i + 1]);
  }
  return [x0 - margin, y0 - margin, x1 + margin, y1 + margin];
}

const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

function merge(boxes, box) {
  let grown = [...box];
  for (let i = boxes.length - 1; i >= 0; i--) {
    if (!overlap(boxes[i], grown)) continue;
    const [other] = boxes.splice(i, 1);
    grown = [Math.min(grown[0], other[0]), Math.min(grown[1], other[1]), Math.max(grown[2], other[2]), Math.max(grown[3], other[3])];
    i = boxes.length; // the larger box may touch others
  }
  boxes.push(grown);
}
