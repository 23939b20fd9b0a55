// The 3D page: a user's GLB instead of the drawn face; the same link, the same badge.
import { Stage, badge } from './stage.js';

badge('lost');
try {
  const { HeadView } = await import('./head3d.js');
  window.emoFace = await Stage.open(document.getElementById('face'), { onState: badge }, (canvas, channels) => HeadView.open(canvas, channels, '/model.glb'));
} catch (error) {
  badge('', `The head could not be shown: ${error.message}`);
}
