// The nonces of one server (RFC 9449 §8, §9): each is good for some seconds, so a proof is as young as that.

import { randomBytes } from 'node:crypto';

export class Nonces {
  #until = new Map();
  #asked = new Set();
  #count = 0;
  #constant = randomBytes(16).toString('base64url');

  constructor(seconds, has, now) {
    Object.assign(this, { seconds, has, now });
  }

  fresh() {
    for (const [nonce, until] of this.#until) {
      if (until >= this.now()) break;
      this.#until.delete(nonce);
    }
    const nonce = this.#next();
    this.#until.set(nonce, this.has('nonce-reused-forever') ? Infinity : this.now() + this.seconds);
    return nonce;
  }

  holds(nonce) {
    return this.#until.get(nonce) >= this.now();
  }

  // Whether a client with this key was asked before.
  asked(thumbprint) {
    const before = this.#asked.has(thumbprint);
    this.#asked.add(thumbprint);
    return before;
  }

  #next() {
    if (this.has('nonce-constant')) return this.#constant;
    if (this.has('nonce-predictable')) return `nonce-${(this.#count += 1)}`;
    return randomBytes(16).toString('base64url');
  }
}
