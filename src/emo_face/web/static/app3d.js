// The 3D page: a user's GLB instead of the drawn face; the same link, the same badge.
import { StopButton } from './estop.js';
import { Stage, badge } from './stage.js';

badge('lost');
const stop = new StopButton(() => window.emoFace?.link);
const calls = { onState: badge, onMeta: (meta) => stop.onMeta(meta), onReply: (reply) => stop.onReply(reply) };
try {
  const { HeadView } = await import('./head3d.js');
  window.emoFace = await Stage.open(document.getElementById('face'), calls, (canvas, channels) => HeadView.open(canvas, channels, 'model.glb'));
} catch (error) {
  badge('', `The head could not be shown: ${error.message}`);
}
