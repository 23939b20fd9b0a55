// Puts face and link together on a canvas: theme, light and dark, reduced motion, asleep while the link is lost.
import { FaceView } from './face.js';
import { Link } from './link.js';

const ASLEEP = { eyeBlinkLeft: 0.42, eyeBlinkRight: 0.42, browInnerUp: 0.25 };
// Asking for an animation frame wakes the compositor, so a face that creeps does without: ms to the next look after a
// lonely picture, and at most after none.
const SOON = 10, CREEP = 40;
const dark = matchMedia('(prefers-color-scheme: dark)');
const calm = matchMedia('(prefers-reduced-motion: reduce)');

export function setting(name, fallback) {
  const asked = new URLSearchParams(location.search).get(name);
  if (asked) return asked;
  try { return localStorage.getItem(`emo_face.${name}`) ?? fallback; } catch { return fallback; }
}

export function remember(name, value) {
  try { localStorage.setItem(`emo_face.${name}`, value); } catch { /* private window: this visit only */ }
}

const BADGE = { lost: 'Connection lost. Trying again…', waiting: 'Waiting for the face driver', live: '' };

// Tells the state of the link, or `text`, on the page's badge.
export function badge(state, text = BADGE[state]) {
  const node = document.getElementById('badge');
  node.textContent = text;
  node.hidden = !text;
}

const fetchJson = async (path) => {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
};

export class Stage {
  // `makeView(canvas, channels)`: another view with the interface of FaceView.
  static async open(canvas, calls = {}, makeView = (...of) => new FaceView(...of)) {
    const stage = new Stage();
    stage.config = await fetchJson('config.json');
    stage.view = await makeView(canvas, stage.config.channels);
    const wanted = setting('theme', stage.config.theme);
    stage.mode = setting('mode', 'auto');
    await stage.setTheme(wanted in stage.config.themes ? wanted : stage.config.theme);
    stage.begin(canvas, calls);
    return stage;
  }

  begin(canvas, calls) {
    const { channels } = this.config;
    this.asleep = Float32Array.from(channels, (name) => ASLEEP[name] ?? 0);
    this.shown = new Float32Array(channels.length);
    this.sleep = 1;
    this.frames = this.painted = this.last = 0;
    this.link = new Link(channels.length, {
      ...calls,
      onState: (state) => { document.documentElement.dataset.link = state; calls.onState?.(state); this.wake(); },
      onFrame: () => this.wake(),
    });
    dark.addEventListener('change', () => this.setMode(this.mode));
    const fit = () => { this.view.resize(); this.wake(); };
    new ResizeObserver(fit).observe(canvas);
    const watchRatio = () => { // zoom, or a window moved to a display of another density
      matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener('change', () => { fit(); watchRatio(); }, { once: true });
    };
    watchRatio();
    document.documentElement.dataset.link = 'lost';
    this.wake();
  }

  async setTheme(name) {
    this.face = await fetchJson(`faces/${name}.json`);
    this.theme = name;
    this.view.load(this.face, this.tone());
    this.setMode(this.mode);
    this.view.resize();
    this.wake();
  }

  tone() {
    return this.mode === 'auto' ? (dark.matches ? 'dark' : 'light') : this.mode;
  }

  setMode(mode) {
    this.mode = mode;
    const tone = this.tone();
    document.documentElement.dataset.tone = tone;
    document.documentElement.style.setProperty('--stage', this.face.palette[tone].background);
    this.view.setMode(tone);
    this.wake();
  }

  // The loop sleeps while nothing moves, so that an idle face costs nothing.
  wake() {
    if (!this.running && this.link) {
      clearTimeout(this.later);
      this.running = true;
      this.tick(performance.now());
    }
  }

  tick(now) {
    const dt = Math.min(Math.max(0, now - this.last), 100);
    this.last = now;
    this.frames++;
    let moving = this.link.sample(now);
    const goal = this.link.state === 'lost' || !this.link.frames.length ? 1 : 0;
    const step = dt / (goal ? 900 : 350);
    this.sleep = goal ? Math.min(1, this.sleep + step) : Math.max(0, this.sleep - step);
    moving ||= this.sleep !== goal;
    const ease = this.sleep * this.sleep * (3 - 2 * this.sleep);
    const follow = calm.matches ? 1 - Math.exp(-dt / 250) : 1;
    for (let i = 0; i < this.shown.length; i++) {
      const target = this.link.value[i] + ease * (this.asleep[i] - this.link.value[i]);
      const gap = target - this.shown[i];
      if (Math.abs(gap) > 0.002 && follow < 1) moving = true;
      this.shown[i] = Math.abs(gap) < 1e-4 ? target : this.shown[i] + follow * gap;
    }
    const painted = this.view.show(this.shown);
    if (painted) this.painted++;
    const swift = painted && this.swift;
    this.swift = painted;
    if (!moving) this.running = false;
    else if (swift) requestAnimationFrame((next) => this.tick(next));
    else if (painted) setTimeout(() => this.tick(performance.now()), SOON);
    else {
      this.running = false; // the next values wake it, or the timer where none come
      this.later = setTimeout(() => this.wake(), CREEP);
    }
  }
}
