/**
 * Takes the pictures of README.md: the page and the terminal's live view, of one real room with three people, two of them at the
 * command line. `scripts/pictures.sh` starts this; the pictures are written to docs/pictures/.
 */

import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { launch, Person } from './harness/browser.js';
import { binary, PATIENCE_MS, Program, ROOT, Server } from './harness/program.js';
import { speechFile } from './harness/sound.js';
import { asHtml, Terminal } from './harness/terminal.js';

const FOLDER = join(ROOT, 'docs/pictures');
const ROOM = 'lobby';
const PAGE = { width: 1100, height: 760 };
const TERMINAL = { columns: 104, rows: 20 };
const MOST_BYTES = 150_000;

const temporary = mkdtempSync(join(tmpdir(), 'voicemesh-pictures-'));
/** @type {(() => unknown)[]} what ends what was started, last one first */
const endings = [() => rmSync(temporary, { recursive: true, force: true })];

/** How the command joins. @param {Server} server @param {string} name @param {string} voice @param {string[]} more */
function joining(server, name, voice, ...more) {
  return [
    'join',
    ROOM,
    '--server',
    server.socketUrl,
    '--name',
    name,
    '--input',
    `${speechFile(voice)}:loop`,
    '--output',
    'null',
    '--state-dir',
    join(temporary, name),
    ...more,
  ];
}

/** @param {import('playwright-core').Locator} from @param {string} name */
async function take(from, name) {
  const path = join(FOLDER, name);
  await from.screenshot({ path });
  const { size } = statSync(path);
  if (size > MOST_BYTES) throw new Error(`${path} has ${size} bytes, more than ${MOST_BYTES}`);
  console.log(`${path}: ${size} bytes`);
}

async function main() {
  mkdirSync(FOLDER, { recursive: true });
  const server = await Server.start([]);
  endings.push(() => server.program.kill());
  const { browser, close } = await launch(speechFile('reader'));
  endings.push(close);

  const ada = await Person.open(browser, server.url, 'Ada', {
    recorded: false,
    context: { viewport: PAGE },
  });
  await ada.join({ room: ROOM });
  await ada.waitForPhase('joined');
  const terminal = new Terminal(temporary, TERMINAL, [
    binary('voicemesh'),
    ...joining(server, 'Ben', 'cards'),
  ]);
  endings.push(() => terminal.close());
  const cleo = new Program(
    'Cleo',
    binary('voicemesh'),
    joining(server, 'Cleo', 'announcer', '--json'),
  );
  endings.push(() => cleo.kill());
  await cleo.waitFor('connected');

  for (const name of ['Ben', 'Cleo']) await ada.waitForRoute(name, 'direct');
  await terminal.waitUntil(
    'two direct links',
    (text) => (text.match(/direct/g) ?? []).length >= 2,
    PATIENCE_MS,
  );
  terminal.type('Good evening! Can you both hear me?');
  await ada.at('messages').getByText('Can you both hear me?').waitFor({ state: 'attached' });
  cleo.type('Loud and clear.');
  await ada.at('messages').getByText('Loud and clear.').waitFor({ state: 'attached' });
  await terminal.waitUntil('the answer', (text) => text.includes('Loud and clear.'), PATIENCE_MS);

  // Some seconds of speech, after which the figures of all links are known.
  await cleo.waitFor('first-heard', ({ name }) => name === 'Ada');
  await new Promise((done) => setTimeout(done, 8000));
  await ada.sees('Ben', '[data-speaking="true"]').waitFor();
  await ada.sees('Cleo', '[data-speaking="true"]').waitFor();
  await take(ada.page.locator('html'), 'page.png');

  const screen = await browser.newPage({ viewport: { width: 1000, height: 700 } });
  await screen.setContent(asHtml(terminal.coloured(), TERMINAL.columns));
  await take(screen.locator('pre'), 'terminal.png');
  ada.assertNoFaults();
}

try {
  await main();
} finally {
  for (const end of endings.reverse()) await end();
}
