// The face page: full screen, settings that hide themselves, a badge when the link is lost.
import { StopButton } from './estop.js';
import { Stage, badge, remember } from './stage.js';

const $ = (id) => document.getElementById(id);
function showMeta({ person, person_emotion: feels, shown, strength, latency_ms: latency, notice }) {
  const share = Number.isFinite(strength) && strength > 0 ? ` ${Math.round(100 * strength)} %` : '';
  const parts = [
    person && `${person} feels ${feels || '?'}`,
    shown && `shows ${shown}${share}`,
    Number.isFinite(latency) ? `${Math.round(latency)} ms` : '',
  ];
  $('status').textContent = parts.filter(Boolean).join(' · ');
  if ($('notice').textContent !== (notice ?? '')) Object.assign($('notice'), { textContent: notice ?? '', hidden: !notice });
}

function hideWhenStill() {
  let timer;
  const show = () => {
    document.body.classList.add('awake');
    clearTimeout(timer);
    timer = setTimeout(() => { if (!$('panel').open) document.body.classList.remove('awake'); }, 3000);
  };
  for (const event of ['pointermove', 'pointerdown', 'keydown', 'focusin']) addEventListener(event, show, { passive: true });
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => {});
}

async function keepAwake() {
  try { if (document.visibilityState === 'visible') await navigator.wakeLock?.request('screen'); } catch { /* not allowed: the display may dim */ }
}

function settings(stage) {
  for (const [name, title] of Object.entries(stage.config.themes)) $('theme').add(new Option(title, name));
  $('theme').value = stage.theme;
  $('mode').value = stage.mode;
  $('theme').onchange = ({ target }) => { stage.setTheme(target.value); remember('theme', target.value); };
  $('mode').onchange = ({ target }) => { stage.setMode(target.value); remember('mode', target.value); };
  if (stage.config.dashboard) Object.assign($('dashboard'), { hidden: false, href: stage.config.dashboard });
  if (stage.config.model) Object.assign($('model'), { hidden: false, href: '3d' });
  $('full').onclick = fullScreen;
  addEventListener('keydown', (event) => {
    if (event.target.closest?.('select, input') || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'f') fullScreen();
    if (event.key === 't') {
      const names = Object.keys(stage.config.themes);
      $('theme').value = names[(names.indexOf(stage.theme) + 1) % names.length];
      $('theme').dispatchEvent(new Event('change'));
    }
  });
}

hideWhenStill();
keepAwake();
document.addEventListener('visibilitychange', keepAwake);
badge('lost');
let stage;
const stop = new StopButton(() => stage?.link);
try {
  const onMeta = (meta) => { showMeta(meta); stop.onMeta(meta); };
  stage = await Stage.open($('face'), { onState: badge, onMeta, onReply: (reply) => stop.onReply(reply) });
  settings(stage);
  window.emoFace = stage;
} catch (error) {
  badge('', `The face could not be loaded: ${error.message}`);
}
