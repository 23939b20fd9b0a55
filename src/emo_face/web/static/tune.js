// Sliders for every channel and emotion presets; commands go to the driver, the picture shows what comes back.
import { StopButton } from './estop.js';
import { Stage, badge } from './stage.js';

const $ = (id) => document.getElementById(id);
const GROUPS = [['Brows', 'brow'], ['Eyes', 'eye'], ['Cheeks and nose', 'cheek', 'nose'], ['Jaw', 'jaw'], ['Mouth', 'mouth', 'tongue']];

const held = new Map();
const sliders = new Map();
let stage, queued;

const plain = (name) => name.replace(/([A-Z])/g, ' $1').toLowerCase();

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function send(command) {
  $('reply').textContent = '';
  if (!stage.link.send(command)) $('reply').textContent = 'Not connected: nothing was sent.';
}

// Many slider events a frame become one command.
function hold(name, value) {
  held.set(name, value);
  if (queued) return;
  queued = setTimeout(() => { queued = 0; send({ type: 'tune', values: Object.fromEntries(held) }); }, 33);
}

function press(button) {
  for (const other of $('presets').children) other.ariaPressed = other === button;
}

function mark(name, value, isHeld) {
  const { row, input, output } = sliders.get(name);
  row.classList.toggle('held', isHeld);
  input.value = value;
  output.textContent = value.toFixed(2);
}

function makeSlider(name) {
  const label = element('span', { id: `name-${name}`, textContent: plain(name) });
  const input = element('input', { type: 'range', min: 0, max: 1, step: 0.01, value: 0, id: name });
  input.setAttribute('aria-labelledby', label.id);
  const output = element('output', { textContent: '0.00' });
  const row = element('div', { className: 'slider' }, label, input, output);
  input.oninput = () => { press(null); mark(name, input.valueAsNumber, true); hold(name, input.valueAsNumber); };
  sliders.set(name, { row, input, output });
  return row;
}

function build({ channels, emotions }) {
  for (const [title, ...starts] of GROUPS) {
    const names = channels.filter((name) => starts.some((start) => name.startsWith(start)));
    $('groups').append(element('h2', { textContent: title }), element('div', { className: 'sliders' }, ...names.map(makeSlider)));
  }
  const preset = (emotion) => {
    held.clear();
    for (const name of channels) mark(name, 0, false);
    send({ type: 'preset', emotion, intensity: $('intensity').valueAsNumber });
  };
  for (const [emotion, colour] of Object.entries(emotions)) {
    const button = element('button', { type: 'button', textContent: emotion, ariaPressed: 'false' });
    button.style.boxShadow = `inset 0 -3px ${colour}`;
    button.onclick = () => { press(button); preset(emotion); };
    $('presets').append(button);
  }
  $('intensity').oninput = ({ target }) => {
    target.nextElementSibling.textContent = target.valueAsNumber.toFixed(2);
    const pressed = [...$('presets').children].find((b) => b.ariaPressed === 'true');
    if (pressed) preset(pressed.textContent);
  };
  $('neutral').onclick = () => { press(null); for (const name of channels) { mark(name, 0, true); hold(name, 0); } };
  $('release').onclick = () => { press(null); held.clear(); for (const name of channels) mark(name, 0, false); send({ type: 'release' }); };
}

const stop = new StopButton(() => stage?.link);
stage = await Stage.open($('face'), {
  onState: badge,
  onMeta: (meta) => stop.onMeta(meta),
  onReply: (reply) => {
    stop.onReply(reply);
    $('reply').textContent = reply.type === 'refused' ? `Refused: ${reply.reason}` : '';
  },
});
build(stage.config);
window.emoFace = stage;
