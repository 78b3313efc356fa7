// Callbacks that wait for an answer that never arrives.
//
// Symptom. Memory grows with every request. The heap of the JavaScript engine contains thousands of
// closures of one function, and each of them holds a whole request.
//
// Cause. A query to the backend stores a callback in a map. The handler of the answer removes it.
// If no answer arrives, nothing removes it. The map outlives every request, and so does everything
// that the closures captured.
//
// Fix. `variant: fixed` drops the oldest callbacks when more than `max_waiting` are waiting.

import { log } from 'leak-lab:plugin/logging@0.1.0';

const MAX_PAYLOAD_BYTES = 16n << 20n;

/** After a switch to `fixed`, each request drops at most this many leaked callbacks. */
const MAX_DROPS_PER_REQUEST = 256;

const encoder = new TextEncoder();

const settings = { variant: 'leaky', payload_bytes: 4096n, max_waiting: 10n };

/** Callbacks by the id of their query. A Map iterates in insertion order: oldest first. */
const waiting = new Map();
let queries = 0;

/** Bytes that the callbacks hold: ids and payloads. */
let retainedBytes = 0;

/** Stores a callback for the answer. The bug: only an answer removes it. */
function queryBackend(request, payload) {
  queries += 1;
  const id = `${request.id}#${queries}`;
  waiting.set(id, {
    bytes: id.length + payload.byteLength,
    answered: (status) =>
      log('debug', `${request.path}: ${status} for ${payload.byteLength} bytes`),
  });
  retainedBytes += id.length + payload.byteLength;
}

/** Removes a callback. */
function drop(id) {
  retainedBytes -= waiting.get(id).bytes;
  waiting.delete(id);
}

/** A buffer with content that no other request has, so that nothing can share it. */
function payloadOf(request) {
  // The leaked memory. The closure in `waiting` keeps it.
  const payload = new Uint8Array(Number(settings.payload_bytes));
  let filled = encoder.encodeInto(`${request.id} `, payload).written;
  // Doubling takes a few calls of the engine instead of one interpreter step per byte.
  for (; filled > 0 && filled < payload.length; filled *= 2) {
    payload.copyWithin(filled, 0, filled);
  }
  return payload;
}

function validated({ name, value }) {
  const reject = (message) => {
    throw { name, message };
  };
  switch (name) {
    case 'variant':
      if (value.val !== 'leaky' && value.val !== 'fixed') reject('must be "leaky" or "fixed"');
      break;
    case 'payload_bytes':
      if (value.tag !== 'integer' || value.val < 0n || value.val > MAX_PAYLOAD_BYTES)
        reject('must be an integer from 0 to 16777216');
      break;
    case 'max_waiting':
      if (value.tag !== 'integer' || value.val < 0n || value.val > 1_000_000n)
        reject('must be an integer from 0 to 1000000');
      break;
    default:
      reject('is not a setting of this plugin');
  }
  return [name, value.val];
}

/** The bytes exclude closures and map slots, because JavaScript cannot measure engine objects. */
const retained = () => ({ objects: BigInt(waiting.size), bytes: BigInt(retainedBytes) });

export const leak = {
  describe: () => ({
    id: 'javascript-closures',
    version: '0.1.0',
    title: 'Closures that wait forever (JavaScript)',
    description:
      'Stores a callback for every request; the answer that would remove it never arrives.',
    unit: 'callbacks',
    settings: [
      {
        name: 'variant',
        description: 'Whether callbacks wait forever (leaky) or the oldest are dropped (fixed).',
        type: { tag: 'choice', val: ['leaky', 'fixed'] },
        default: { tag: 'text', val: 'leaky' },
      },
      {
        name: 'payload_bytes',
        description: 'Bytes that each callback retains.',
        type: { tag: 'integer', val: { min: 0n, max: MAX_PAYLOAD_BYTES } },
        default: { tag: 'integer', val: 4096n },
      },
      {
        name: 'max_waiting',
        description: 'Maximum number of waiting callbacks of the fixed variant.',
        type: { tag: 'integer', val: { min: 0n, max: 1_000_000n } },
        default: { tag: 'integer', val: 10n },
      },
    ],
  }),

  configure(changes) {
    // Validates all settings before it changes any.
    for (const [name, value] of changes.map(validated)) {
      settings[name] = value;
    }
  },

  onRequest(request) {
    queryBackend(request, payloadOf(request));
    // The fix: drop the oldest callbacks beyond the bound.
    if (settings.variant === 'fixed') {
      const excess = Math.max(0, waiting.size - Number(settings.max_waiting));
      for (const id of [...waiting.keys()].slice(0, Math.min(excess, MAX_DROPS_PER_REQUEST))) {
        drop(id);
      }
    }
    return { triggered: true, retained: retained() };
  },

  retained,

  clear() {
    const dropped = retained();
    waiting.clear();
    retainedBytes = 0;
    return dropped;
  },
};
