// Callbacks that wait for an answer which never comes.
//
// Symptom. Memory grows with every request. The heap of a JavaScript engine shows thousands of closures of one function,
// and each of them holds on to a whole request.
//
// Cause. Who asks the backend leaves a callback in a map, to be found again when the answer arrives. The answer handler
// removes it. When no answer arrives, nobody does: the map outlives every request, and so does what its closures captured.
//
// Fix. `variant: fixed` gives up on the oldest callbacks when more than `max_waiting` wait.

import { log } from 'leak-lab:plugin/logging@0.1.0';

const MOST_PAYLOAD_BYTES = 16n << 20n;

/** What was retained before a switch to `fixed` goes in steps, so that no request takes too long. */
const GIVE_UP_AT_ONCE = 256;

const encoder = new TextEncoder();

const settings = { variant: 'leaky', payload_bytes: 4096n, max_waiting: 10n };

/** Callbacks by the name of their question. The engine keeps a Map in the order in which it was filled. */
const waiting = new Map();
let questions = 0;

/** What the callbacks hold on to, in bytes: names and payloads. */
let heldBytes = 0;

/** Leaves a callback for the answer. The bug: only an answer takes it away again. */
function ask(request, payload) {
  questions += 1;
  const name = `${request.id}#${questions}`;
  waiting.set(name, {
    bytes: name.length + payload.byteLength,
    answered: (status) => log('debug', `${request.path}: ${status} for ${payload.byteLength} bytes`),
  });
  heldBytes += name.length + payload.byteLength;
}

/** What should happen to a callback sooner or later. */
function giveUp(name) {
  heldBytes -= waiting.get(name).bytes;
  waiting.delete(name);
}

/** Bytes that no other request has, so that nothing can share them. */
function payloadOf(request) {
  const payload = new Uint8Array(Number(settings.payload_bytes));
  let filled = encoder.encodeInto(`${request.id} `, payload).written;
  // Doubling what is there takes a few calls of the engine instead of a step of the interpreter for each byte.
  for (; filled > 0 && filled < payload.length; filled *= 2) {
    payload.copyWithin(filled, 0, filled);
  }
  return payload;
}

function checked({ name, value }) {
  const refuse = (message) => {
    throw { name, message };
  };
  switch (name) {
    case 'variant':
      if (value.val !== 'leaky' && value.val !== 'fixed') refuse('takes "leaky" or "fixed"');
      break;
    case 'payload_bytes':
      if (value.tag !== 'integer' || value.val < 0n || value.val > MOST_PAYLOAD_BYTES) refuse('takes 0 to 16777216');
      break;
    case 'max_waiting':
      if (value.tag !== 'integer' || value.val < 0n || value.val > 1_000_000n) refuse('takes 0 to 1000000');
      break;
    default:
      refuse('there is no such setting');
  }
  return [name, value.val];
}

/** A JavaScript program cannot see the engine's own objects: closures, slots of the map. */
const retained = () => ({ objects: BigInt(waiting.size), bytes: BigInt(heldBytes) });

export const leak = {
  describe: () => ({
    id: 'javascript-closures',
    version: '0.1.0',
    title: 'Closures that wait for ever (JavaScript)',
    description: 'Leaves a callback in a map for every request; the answer that would remove it never comes.',
    unit: 'callbacks',
    settings: [
      {
        name: 'variant',
        description: 'Whether callbacks wait for ever (leaky) or the oldest are given up (fixed).',
        type: { tag: 'choice', val: ['leaky', 'fixed'] },
        default: { tag: 'text', val: 'leaky' },
      },
      {
        name: 'payload_bytes',
        description: 'Bytes that each callback holds on to.',
        type: { tag: 'integer', val: { min: 0n, max: MOST_PAYLOAD_BYTES } },
        default: { tag: 'integer', val: 4096n },
      },
      {
        name: 'max_waiting',
        description: 'Callbacks that the fixed variant lets wait.',
        type: { tag: 'integer', val: { min: 0n, max: 1_000_000n } },
        default: { tag: 'integer', val: 10n },
      },
    ],
  }),

  configure(changes) {
    // All are checked before any is taken.
    for (const [name, value] of changes.map(checked)) {
      settings[name] = value;
    }
  },

  onRequest(request) {
    ask(request, payloadOf(request));
    if (settings.variant === 'fixed') {
      const tooMany = waiting.size - Number(settings.max_waiting);
      for (const name of [...waiting.keys()].slice(0, Math.min(tooMany, GIVE_UP_AT_ONCE))) {
        giveUp(name);
      }
    }
    return { triggered: true, retained: retained() };
  },

  retained,

  clear() {
    const dropped = retained();
    waiting.clear();
    heldBytes = 0;
    return dropped;
  },
};
