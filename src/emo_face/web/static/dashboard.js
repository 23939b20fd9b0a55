// The dashboard: what the robot sees, hears, thinks and shows, as the server reports it five times a second.
import { StopButton } from './estop.js';
import { Stage } from './stage.js';

const SECONDS = 60, STATES = { live: 'connected', waiting: 'connected; the face driver is silent', lost: 'Connection lost. Trying again…' };
const LEVELS = ['fine', 'warning', 'error', 'silent'];
const $ = (id) => document.getElementById(id);
const make = (tag, text, kind) => Object.assign(document.createElement(tag), { textContent: text ?? '', className: kind ?? '' });
const percent = (value) => `${Math.round(100 * value)} %`;
const told = new Map();

// Change the page only where the text is new: a screen reader hears each change once, a selection stays.
function rows(node, items, key, build) {
  const text = JSON.stringify(items.map(key));
  if (told.get(node) === text) return;
  told.set(node, text);
  node.replaceChildren(...items.map(build));
}
function say(id, text) { if ($(id).textContent !== text) $(id).textContent = text; }

class Plot {
  constructor(id, names, colours, height, range) {
    Object.assign(this, { node: $(id), names, colours, height, range, data: [[], ...names.map(() => [])] });
    this.draw();
    new ResizeObserver(() => this.size()).observe(this.node);
  }

  draw() {
    const style = getComputedStyle(document.body), ink = style.getPropertyValue('--soft'), grid = style.getPropertyValue('--edge');
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    this.plot?.destroy();
    this.plot = new uPlot({
      width: Math.max(200, this.node.clientWidth), height: this.height, pxAlign: 1,
      scales: { x: { time: false, range: () => [-SECONDS, 0] }, y: { range: this.range } },
      axes: [{ ...axis, values: (_, ticks) => ticks.map((t) => `${t} s`) }, { ...axis, size: 52 }],
      cursor: { y: false }, legend: { live: false },
      series: [{}, ...this.names.map((label, i) => ({ label, stroke: this.colours[i], width: 2, spanGaps: false, points: { show: false } }))],
    }, this.data, this.node);
  }

  size() { this.plot.setSize({ width: Math.max(200, this.node.clientWidth), height: this.height }); }

  add(now, values) {
    this.times = [...(this.times ?? []), now].filter((t) => now - t <= SECONDS);
    const keep = this.times.length;
    this.data = [this.times.map((t) => t - now), ...this.names.map((name, i) => [...this.data[i + 1], values[name] ?? null].slice(-keep))];
    this.plot.setData(this.data);
  }
}

let scores, latency, stage, seenAt = 0;
function plots(config) {
  const names = Object.keys(config.emotions);
  scores = new Plot('scores-plot', names, names.map((name) => config.emotions[name]), 190, [0, 1]);
  latency = new Plot('latency-plot', ['scores', 'expression'], ['#2f8fd0', '#d0762f'], 130, (_, low, high) => [0, Math.max(10, high * 1.1)]);
}

function people(list) {
  rows($('people'), list, (one) => one, (one) => {
    const item = make('li');
    const why = Object.entries(one.evidence).map(([source, share]) => `${source} ${share > 0 ? '+' : ''}${share}`).join(', ');
    item.append(make('strong', `${one.id}: ${one.top || 'nothing stands out'}`), make('span', `quality ${one.quality}${why && ` · ${why}`}`, 'hint'));
    for (const [label, value] of Object.entries(one.p).sort((a, b) => b[1] - a[1]).slice(0, one.top ? 3 : 0)) {
      const bar = make('div', '', 'bar');
      bar.append(make('span', label), Object.assign(make('meter'), { value, ariaLabel: `${label} ${percent(value)}` }), make('span', percent(value)));
      item.append(bar);
    }
    return item;
  });
  if (!list.length) rows($('people'), ['nobody'], String, () => make('li', 'Nobody in view', 'hint'));
}

function answer(shown, stopped) {
  say('shown', shown ? `${stopped ? 'stopped; would show' : 'shows'} ${shown.name}${shown.strength ? ` ${percent(shown.strength)}` : ''}` : 'nothing new to show');
  const who = shown?.person ? `${shown.person} feels` : 'a voice feels';
  say('why', !shown ? '' : shown.feels ? `because ${who} ${shown.feels} (${percent(shown.confidence)}) · as a ${shown.perspective} · ${shown.source}${shown.text ? ` · ${shown.text}` : ''}` : `nobody to answer · ${shown.source}`);
}

function graph(list) {
  rows($('nodes'), list, (node) => node, (node) => {
    const row = make('tr');
    row.dataset.level = node.level;
    const state = make('td', node.message, 'state');
    state.prepend(make('span', `${LEVELS[node.level]}: `, 'out-of-sight'));
    const pairs = (of) => Object.entries(of).map(([name, value]) => `${name} ${value}`).join(', ');
    row.append(Object.assign(make('th', node.name), { scope: 'row' }), state);
    for (const [name, value] of [['Hz', pairs(node.rates)], ['p95, ms', node.p95_ms], ['dropped', pairs(node.dropped)]]) {
      row.append(make('td', value));
      row.lastChild.dataset.name = name; // a phone shows it in front, for want of columns
    }
    return row;
  });
}

function consent({ known, mode, granted, pictures, words }) {
  const key = JSON.stringify([known, mode, granted, pictures, words]);
  if (told.get('consent') === key) return;
  told.set('consent', key);
  $('pictures').checked = pictures;
  $('words').checked = words;
  say('consent-state', known ? `Mode: ${mode}${mode === 'ask' ? (granted ? ', granted' : ', not granted') : ''}. Pictures ${pictures ? 'may' : 'may not'} be shown, words ${words ? 'may' : 'may not'}.` : 'Nothing is known yet.');
}

function report(message) {
  const now = performance.now() / 1000;
  say('notice', message.notice);
  people(message.people);
  answer(message.shown, message.stop);
  rows($('heard'), message.heard.toReversed(), (line) => line.text, (line) => {
    const item = make('li');
    item.append(make('time', `${new Date(Date.now() - 1000 * line.ago).toLocaleTimeString()}`), make('span', line.text));
    return item;
  });
  if (!message.heard.length) rows($('heard'), [message.allowed.words], String, (may) => make('li', may ? 'Nothing yet' : 'Words stay private', 'hint'));
  graph(message.nodes);
  consent(message.allowed);
  const attended = message.people.find((one) => one.id === message.shown?.person) ?? message.people[0];
  scores?.add(now, attended?.p ?? {});
  latency?.add(now, message.latency);
  if (now - seenAt > 5) { // in words, for who does not see the plots, and not too often
    seenAt = now;
    say('scores-text', attended ? Object.entries(attended.p).map(([label, p]) => `${label} ${percent(p)}`).join(', ') : 'nobody');
    say('latency-text', Object.entries(message.latency).map(([name, ms]) => `${name} ${ms} ms`).join(', '));
  }
  pictures = message.allowed.pictures && message.allowed.reading;
}

// A picture after the other, never two at once, none while the page is hidden or people do not want any.
let pictures = false;
async function camera() {
  for (;;) {
    const began = performance.now();
    let shown = false;
    if (pictures && document.visibilityState === 'visible') {
      try {
        const reply = await fetch('camera.jpg', { cache: 'no-store' });
        if (reply.status === 200) {
          const data = await new Promise((done) => { const reader = new FileReader(); reader.onload = () => done(reader.result); reply.blob().then((blob) => reader.readAsDataURL(blob)); });
          $('camera').src = data;
          shown = true;
        }
      } catch { /* the link tells */ }
    }
    $('camera').hidden = !shown;
    $('no-picture').hidden = shown;
    say('no-picture', pictures ? 'No picture from the camera' : 'Pictures are private');
    await new Promise((next) => setTimeout(next, Math.max(50, 200 - (performance.now() - began))));
  }
}

const stop = new StopButton(() => stage?.link);
function reply(message) {
  if (message.type === 'report') report(message);
  else if (message.type === 'refused') say('reply', message.reason);
  else stop.onReply(message);
}
const agree = (granted) => () => {
  const sent = stage?.link.send({ type: 'consent', granted, pictures: $('pictures').checked, words: $('words').checked });
  say('reply', sent ? '' : 'Not connected: nothing was changed');
};
$('agree').onclick = agree(true);
$('withdraw').onclick = agree(false);
try {
  stage = await Stage.open($('face'), { onState: (state) => say('link', STATES[state]), onMeta: (meta) => stop.onMeta(meta), onReply: reply });
  plots(stage.config);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => setTimeout(() => { scores.draw(); latency.draw(); }, 50));
  window.emoFace = stage;
  camera();
} catch (error) {
  say('link', `The dashboard could not be loaded: ${error.message}`);
}
