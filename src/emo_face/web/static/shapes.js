// Curves and boxes of the drawn face.

const HANDLE = 0.375; // of the distance to the next point: eight points make a circle
const EACH = 8000;    // what one more box costs, in pixels painted

// Bezier handles of a smooth curve whose handles scale with the distance to their neighbour.
export function bend(part) {
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

export function trace(ctx, { xy, handles, closed }) {
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
export function bounds(part, margin) {
  const { xy, handles } = part;
  const [x0, y0, x1, y1] = around(xy, [Infinity, Infinity, -Infinity, -Infinity]);
  part.span = [x0, y0, Math.max(x1 - x0, 1e-3), Math.max(y1 - y0, 1e-3)];
  return grow(around(handles, [x0, y0, x1, y1]), margin);
}

function around(points, [x0, y0, x1, y1], from = 0, to = points.length) {
  for (let i = from; i < to; i += 2) {
    x0 = Math.min(x0, points[i]); x1 = Math.max(x1, points[i]);
    y0 = Math.min(y0, points[i + 1]); y1 = Math.max(y1, points[i + 1]);
  }
  return [x0, y0, x1, y1];
}

const grow = ([x0, y0, x1, y1], by) => [x0 - by, y0 - by, x1 + by, y1 + by];

// Box of one curve segment of a closed part, from point i to the next.
export function segment({ xy, handles }, i) {
  const j = 2 * i + 2 < xy.length ? i + 1 : 0;
  const box = around(handles, around(handles, [Infinity, Infinity, -Infinity, -Infinity], 4 * i + 2, 4 * i + 4), 4 * j, 4 * j + 2);
  return grow(around(xy, around(xy, box, 2 * i, 2 * i + 2), 2 * j, 2 * j + 2), 2);
}

export const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);

// Adds a box to boxes that are painted one by one; two become one where that paints less.
export function merge(boxes, box) {
  let grown = box;
  for (let i = boxes.length - 1; i >= 0; i--) {
    const b = boxes[i];
    const both = [Math.min(grown[0], b[0]), Math.min(grown[1], b[1]), Math.max(grown[2], b[2]), Math.max(grown[3], b[3])];
    if (area(both) > area(grown) + area(b) + EACH) continue;
    boxes.splice(i, 1);
    grown = both;
    i = boxes.length; // the larger box may take in others
  }
  boxes.push(grown);
}
