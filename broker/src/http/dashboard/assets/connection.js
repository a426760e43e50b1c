// The socket to the broker: connects, connects again, and hands frames on.

const RETRY_MS = [500, 1000, 2000, 5000];

export class Connection {
  #handlers;
  #socket = null;
  #failures = 0;

  /** `handlers`: `frame(object)` for each frame, `state(word)` when the connection changes. */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#open();
  }

  /** Send a frame; false if there is no connection now. */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #open() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws/dashboard`);
    this.#socket = socket;
    socket.onopen = () => {
      this.#failures = 0;
      this.#handlers.state("live");
    };
    socket.onmessage = (message) => this.#handlers.frame(JSON.parse(message.data));
    socket.onclose = () => {
      this.#handlers.state("disconnected");
      const wait = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)];
      this.#failures += 1;
      setTimeout(() => this.#open(), wait);
    };
  }
}
