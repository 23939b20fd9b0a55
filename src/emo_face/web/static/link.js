// The WebSocket: newest values in, smooth values out, always tells whether the link is alive.

const SILENCE = 3000;         // ms without a sign of life: the link is lost
const FRAME_BYTES = (n) => 8 + 2 * n;

export class Link {
  // onState: 'live' | 'waiting' (server there, no driver) | 'lost'; onMeta: latest meta; onReply: answer to a command.
  constructor(count, { onState, onMeta, onReply, onFrame } = {}) {
    this.count = count;
    this.calls = { onState, onMeta, onReply, onFrame };
    this.frames = [];
    this.value = new Float32Array(count);
    this.interval = 33;
    this.offset = Infinity;
    this.retry = 400;
    this.state = '';
    this.connect();
    setInterval(() => this.watch(), 500);
  }

  connect() {
    clearTimeout(this.timer);
    this.heard = performance.now();
    const address = new URL('ws', location.href);  // relative, as every link: a proxy may serve us under a prefix
    address.protocol = address.protocol.replace('http', 'ws');
    const socket = new WebSocket(address.href);
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      this.heard = performance.now();
      this.retry = 400;
      if (typeof data === 'string') this.text(data);
      else this.frame(data);
    };
    // 1008: a command broke the rules; other farewells are told by the state.
    socket.onclose = ({ code, reason }) => { if (socket === this.socket) this.lost(code === 1008 ? reason : ''); };
    this.socket = socket;
  }

  lost(reason = '') {
    const old = this.socket;
    this.socket = null;
    old?.close();
    this.offset = Infinity;
    this.set('lost');
    if (reason) this.calls.onReply?.({ type: 'refused', reason });
    this.timer = setTimeout(() => this.connect(), this.retry * (0.8 + 0.4 * Math.random()));
    this.retry = Math.min(this.retry * 1.6, 5000);
  }

  watch() {
    if (this.socket && performance.now() - this.heard > SILENCE) this.lost();
  }

  set(state) {
    if (state === this.state) return;
    this.state = state;
    this.calls.onState?.(state);
  }

  send(command) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(command));
    return true;
  }

  text(data) {
    let message;
    try { message = JSON.parse(data); } catch { return; }
    if (message.type !== 'meta') { this.calls.onReply?.(message); return; }
    this.set(message.live ? 'live' : 'waiting');
    this.calls.onMeta?.(message);
  }

  frame(data) {
    if (data.byteLength !== FRAME_BYTES(this.count)) return;
    const view = new DataView(data);
    if (view.getUint8(0) !== 1 || view.getUint8(1) !== this.count) return;
    const at = view.getUint32(4, true), values = new Float32Array(this.count);
    for (let i = 0; i < this.count; i++) values[i] = view.getUint16(8 + 2 * i, true) / 65535;
    // Smallest difference of the clocks seen = the least delayed frame; let it drift slowly.
    const offset = performance.now() - at;
    this.offset = offset < this.offset || offset - this.offset > 1000 ? offset : this.offset + 0.01 * (offset - this.offset);
    const last = this.frames.at(-1);
    const gap = last ? at - last.at : 1e9;
    if (gap <= 0) this.frames.length = 0;
    else if (gap < 200) this.interval += 0.1 * (gap - this.interval);
    // After a pause the face did not creep: it stood still until one interval ago.
    else if (last) this.frames.push({ at: at - this.interval, values: last.values });
    this.frames.push({ at, values });
    if (this.frames.length > 12) this.frames.splice(0, this.frames.length - 12);
    this.calls.onFrame?.();
  }

  // Values at this moment, a little behind the newest so that there are always two frames to mix; true while they move.
  sample(now) {
    const { frames, value } = this;
    if (!frames.length) return false;
    const at = now - this.offset - Math.min(120, Math.max(20, 1.5 * this.interval));
    while (frames.length > 2 && frames[1].at <= at) frames.shift();
    const a = frames[0], b = frames[1] ?? a;
    const mix = b.at > a.at ? Math.min(1, Math.max(0, (at - a.at) / (b.at - a.at))) : 1;
    for (let i = 0; i < this.count; i++) value[i] = a.values[i] + mix * (b.values[i] - a.values[i]);
    return at < frames.at(-1).at;
  }
}
