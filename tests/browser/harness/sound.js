/** What was spoken and what was heard, as WAV files; `voicemesh-hear` compares them. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { binary, ROOT } from './program.js';

export const RATE = 48_000;

/** @param {string} voice one of tests/speech, which says what it sounds like */
export const speechFile = (voice) => join(ROOT, 'tests/speech', `${voice}.wav`);

/** Samples of a WAV file as our own programs write it: 16 bit, mono, 48 kHz. @param {string} file */
export function readWav(file) {
  const bytes = readFileSync(file);
  let at = 12;
  while (bytes.toString('latin1', at, at + 4) !== 'data') {
    if (bytes.toString('latin1', at, at + 4) === 'fmt ') {
      const form = [
        bytes.readUInt16LE(at + 10),
        bytes.readUInt32LE(at + 12),
        bytes.readUInt16LE(at + 22),
      ];
      assert.deepEqual(form, [1, RATE, 16], `${file}: mono, 48 kHz, 16 bit`);
    }
    at += 8 + bytes.readUInt32LE(at + 4) + (bytes.readUInt32LE(at + 4) & 1);
    assert.ok(at + 8 <= bytes.length, `${file} holds no sound`);
  }
  // A file still being written may claim more than there is.
  const end = Math.min(at + 8 + bytes.readUInt32LE(at + 4), bytes.length);
  return new Int16Array(
    bytes.buffer.slice(bytes.byteOffset + at + 8, bytes.byteOffset + end - ((end - at) & 1)),
  );
}

/** @param {string} file @param {Int16Array} samples */
export function writeWav(file, samples, channels = 1) {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0, 'latin1');
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.write('WAVEfmt ', 8, 'latin1');
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(channels, 22);
  header.writeUInt32LE(RATE, 24);
  header.writeUInt32LE(RATE * 2 * channels, 28);
  header.writeUInt16LE(2 * channels, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36, 'latin1');
  header.writeUInt32LE(samples.byteLength, 40);
  writeFileSync(
    file,
    Buffer.concat([header, Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength)]),
  );
}

/** One after the other; a number is so many seconds of silence, a word a voice. @param {(string | number)[]} parts */
export function spoken(...parts) {
  const pieces = parts.map((part) =>
    typeof part === 'number' ? new Int16Array(Math.round(part * RATE)) : readWav(speechFile(part)),
  );
  const all = new Int16Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Loudest sample, 0 to 1. @param {Int16Array} samples */
export const peak = (samples) =>
  samples.reduce((loudest, sample) => Math.max(loudest, Math.abs(sample)), 0) / 32_768;

/**
 * How the one is heard in the other.
 * @param {string} spokenFile
 * @param {string} heardFile
 * @param {number} [cutMs] of which one is excused
 */
export async function compare(spokenFile, heardFile, cutMs = 0) {
  const cut = cutMs > 0 ? ['--cut-ms', String(cutMs)] : [];
  /** @type {string} */
  const line = await new Promise((resolve, reject) => {
    execFile(binary('voicemesh-hear'), [spokenFile, heardFile, ...cut], (error, out, complaint) => {
      // 1 means that it fails the program's own limits; the tests here have other limits.
      if (error && error.code !== 1) reject(new Error(complaint || error.message));
      else resolve(out.trim());
    });
  });
  /** @param {RegExp} pattern */
  const figure = (pattern) =>
    Number(pattern.exec(line)?.[1] ?? assert.fail(`not understood: ${line}`));
  return {
    line,
    delayMs: figure(/delay (-?\d+) ms/),
    envelope: figure(/envelope (-?[\d.]+)/),
    levelDb: figure(/level ([-+][\d.]+) dB/),
    unheardMs: figure(/unheard (\d+) ms/),
    longestUnheardMs: figure(/longest (\d+)\)/),
    cutMs: / outside a cut of /.test(line) ? figure(/cut of (\d+) ms/) : 0,
    stoi: figure(/STOI (-?[\d.]+)/),
  };
}

/** @typedef {Awaited<ReturnType<typeof compare>>} Hearing */

/** What was heard has holes, or is not what was spoken. It may be the machine's doing, where more wants to run than can. */
export class UnheardError extends assert.AssertionError {}

/** @param {boolean} holds @param {string} message */
function demand(holds, message) {
  if (!holds)
    throw new UnheardError({ message, actual: false, expected: true, operator: 'demand' });
}

/**
 * What was heard is what was spoken.
 * @param {string} who stands in the message
 * @param {string} spokenFile
 * @param {string} heardFile
 * @param {{cutMs?: number, envelope?: number, unheardMs?: number, stoi?: number}} [floor]
 * @returns {Promise<Hearing>}
 */
export async function assertHeard(who, spokenFile, heardFile, floor = {}) {
  const { cutMs = 0, envelope = 0.9, unheardMs = 100, stoi = 0.7 } = floor;
  const hearing = await compare(spokenFile, heardFile, cutMs);
  demand(hearing.envelope >= envelope, `${who}: the envelope differs: ${hearing.line}`);
  demand(hearing.longestUnheardMs <= unheardMs, `${who}: a stretch is unheard: ${hearing.line}`);
  demand(hearing.stoi >= stoi, `${who}: the words are unintelligible: ${hearing.line}`);
  return hearing;
}
