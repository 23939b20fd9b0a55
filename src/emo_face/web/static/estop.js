// The emergency stop on every page that can move the face: one button, always there, and what the driver says about it.

const PRESS = 'STOP', RELEASE = 'Release the stop';

export class StopButton {
  // `link()`: the page's Link, once there is one.
  constructor(link) {
    this.link = link;
    this.node = document.createElement('section');
    this.node.className = 'estop';
    this.node.setAttribute('aria-label', 'Emergency stop');
    this.button = document.createElement('button');
    this.button.type = 'button';
    this.button.id = 'estop';
    this.button.textContent = PRESS;
    this.clear = document.createElement('button');
    this.clear.type = 'button';
    this.clear.id = 'clear-estop';
    this.clear.textContent = RELEASE;
    this.clear.hidden = true;
    this.text = document.createElement('p');
    this.text.setAttribute('role', 'alert');
    this.node.append(this.text, this.clear, this.button);
    document.body.append(this.node);
    this.button.onclick = () => this.send('estop');
    this.clear.onclick = () => this.send('clear_estop');
    addEventListener('keydown', (event) => { if (event.key === 'Escape' && event.shiftKey) this.send('estop'); });
  }

  send(type) {
    if (!this.link()?.send({ type })) this.say('Not connected: the stop was NOT sent. Cut the power.', true);
  }

  // An answer of the driver to a press; others are not ours.
  onReply({ type, success, message }) {
    if (type === 'stop') this.say(message, !success);
  }

  // What the driver tells with every face.
  onMeta({ estop, stop }) {
    this.clear.hidden = !estop;
    if (estop) this.say(stop || 'stopped', !/^(stopped|holding)/.test(stop));
    else if (this.stopped) this.say('');
    this.stopped = estop;
  }

  say(text, bad = false) {
    if (this.text.textContent !== text) this.text.textContent = text;
    this.node.classList.toggle('bad', bad);
    this.node.classList.toggle('told', Boolean(text));
  }
}
