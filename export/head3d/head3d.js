// Shows a GLB with ARKit morph targets. Same interface as FaceView in face.js.
import {
  ACESFilmicToneMapping, Box3, Color, DirectionalLight, HemisphereLight, PerspectiveCamera, Scene, Vector3, WebGLRenderer,
} from 'three';
import { GLTFLoader } from 'three/examples/jsm/loaders/GLTFLoader.js';

const SEEN = 0.002; // change of a value that is worth a new picture

// eyeBlink_L, EyeBlinkLeft and blendShape.eyeBlinkLeft all mean eyeBlinkLeft.
const plain = (name) => name.split('.').pop().replace(/_L$/, 'Left').replace(/_R$/, 'Right').replace(/_/g, '').toLowerCase();

export class HeadView {
  static async open(canvas, channels, url) {
    const gltf = await new GLTFLoader().loadAsync(url);
    return new HeadView(canvas, channels, gltf.scene);
  }

  constructor(canvas, channels, head) {
    this.canvas = canvas;
    this.shown = new Float32Array(channels.length).fill(-1);
    const index = new Map(channels.map((name, i) => [plain(name), i]));
    this.targets = []; // [influences, position among them, channel]
    const found = new Set();
    head.traverse((mesh) => {
      for (const [name, at] of Object.entries(mesh.morphTargetDictionary ?? {})) {
        const channel = index.get(plain(name));
        if (channel === undefined) continue;
        this.targets.push([mesh.morphTargetInfluences, at, channel]);
        found.add(channel);
      }
      mesh.frustumCulled = false;
    });
    this.missing = channels.filter((_, i) => !found.has(i));
    if (!found.size) throw new Error('this GLB has no morph targets with ARKit names');
    this.renderer = new WebGLRenderer({ canvas, antialias: true, powerPreference: 'low-power' });
    this.renderer.toneMapping = ACESFilmicToneMapping;
    this.scene = new Scene();
    this.scene.add(head);
    this.light();
    this.aim(head);
  }

  light() {
    this.scene.add(new HemisphereLight(0xf4f7ff, 0x6b5a50, 1.5));
    for (const [colour, strength, ...place] of [[0xfff1e0, 2.4, 0.6, 0.8, 1], [0xbfd4ff, 0.9, -1, 0.2, 0.7], [0xffffff, 1.6, 0, 0.9, -1]]) {
      const lamp = new DirectionalLight(colour, strength);
      lamp.position.set(...place);
      this.scene.add(lamp);
    }
  }

  // Looks at the face from the front (+z), whatever its size and wherever it stands: the face is what the shapes move.
  aim(head) {
    this.box = new Box3();
    head.updateWorldMatrix(true, true);
    const point = new Vector3();
    head.traverse(({ geometry, morphTargetDictionary, matrixWorld }) => {
      const offsets = morphTargetDictionary ? geometry.morphAttributes.position ?? [] : [];
      if (!offsets.length) return;
      const { position } = geometry.attributes;
      geometry.computeBoundingBox();
      const least = 0.004 * geometry.boundingBox.getSize(point).length();
      for (let i = 0; i < position.count; i++) {
        if (!offsets.some((o) => Math.abs(o.getX(i)) + Math.abs(o.getY(i)) + Math.abs(o.getZ(i)) > least)) continue;
        this.box.expandByPoint(point.fromBufferAttribute(position, i).applyMatrix4(matrixWorld));
      }
    });
    this.camera = new PerspectiveCamera(24, 1, 0.01, 100);
  }

  load(face, mode) {
    this.face = face;
    this.setMode(mode);
  }

  setMode(mode) {
    this.scene.background = new Color(this.face.palette[mode].background);
    this.stale = true;
  }

  resize(ratio = Math.min(window.devicePixelRatio || 1, 2)) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(width, height, false);
    const size = this.box.getSize(new Vector3()), centre = this.box.getCenter(new Vector3());
    const half = Math.max(1.5 * size.y, 1.7 * size.x * (height / width)) / 2; // room for hair and ears
    const distance = half / Math.tan((this.camera.fov * Math.PI) / 360) + size.z / 2;
    this.camera.aspect = width / height;
    this.camera.near = distance / 100;
    this.camera.far = distance * 10;
    this.camera.position.set(centre.x, centre.y + 0.05 * size.y, centre.z + distance);
    this.camera.lookAt(centre.x, centre.y + 0.05 * size.y, centre.z);
    this.camera.updateProjectionMatrix();
    this.stale = true;
  }

  show(values) {
    let most = 0;
    for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i] - this.shown[i]));
    if (most < SEEN && !this.stale) return false;
    this.stale = false;
    this.shown.set(values);
    for (const [influences, at, channel] of this.targets) influences[at] = values[channel];
    this.renderer.render(this.scene, this.camera);
    return true;
  }
}
