// The playground as a person has it: its server, its engine, and a Chromium.

import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

import { chromium } from 'playwright-core';

import { BROWSER_FLAGS, browserPath } from '../../scripts/lib/browser.mjs';
import { cleanUpOnSignals, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { startPlayground } from '../../scripts/lib/playground.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
// A test that is ended from outside leaves no engine and no browser.
cleanUpOnSignals();

/** Set it to keep the pictures. */
const pictures = process.env.NULLSPACE_TEST_PICTURES;
/** Serves the playground and opens it; `close` ends all of it. */
export async function openPlayground() {
  const served = await startPlayground({ binary: process.env.NULLSPACE_TEST_ENGINE, port: 0 });
  const profile = temporaryDirectory('chromium');
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: browserPath(),
    headless: true,
    args: BROWSER_FLAGS,
    viewport: { width: 1440, height: 900 },
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  /** What the page complained of. */
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (line) => {
    // What a browser says when a connection is given up while it opens, as when somebody goes on at once.
    if (line.text().includes('closed before the connection is established')) return;
    if (line.type() === 'error' || line.type() === 'warning') complaints.push(`${line.text()} ${line.location().url}`);
  });
  await page.goto(served.origin);
  return {
    ...served,
    page,
    browser,
    complaints,
    /** What axe finds on the page as it is, in words. */
    async violations() {
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() =>
        // Of frames only the page's own: what a preview shows is not ours.
        window.axe.run(
          { exclude: [['iframe']] },
          { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] },
        ),
      );
      return violations.map(
        ({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join('; ')}`,
      );
    },
    /** A picture, when somebody wants them. */
    async picture(name) {
      if (!pictures) return;
      mkdirSync(pictures, { recursive: true });
      await page.screenshot({ path: path.join(pictures, `${name}.png`) });
    },
    async close() {
      await browser.close();
      removeDirectory(profile);
      await served.close();
      return served.engine.stop();
    },
  };
}
