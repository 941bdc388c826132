// The built site of the documentation, as a reader has it.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { BROWSER_FLAGS, browserPath } from '../../scripts/lib/browser.mjs';
import { inRoot } from '../../scripts/lib/project.mjs';
import { brokenLinks, serveSite } from '../../scripts/lib/site.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PAGES = [
  '/',
  '/start.html',
  '/machines.html',
  '/options.html',
  '/errors.html',
  '/api/',
  '/api/classes/Machine.html',
];

let served;
let browser;
before(async () => {
  served = await serveSite();
  browser = await chromium.launch({ executablePath: browserPath(), args: BROWSER_FLAGS });
});
after(async () => {
  await browser?.close();
  await served?.close();
});

test('every guide is a page, and every link leads to a page and a place on it', () => {
  const guides = readdirSync(inRoot('docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => name.replace(/^README/, 'guides').replace(/\.md$/, '.html'));
  const made = readdirSync(inRoot('dist', 'site'));
  assert.deepEqual(
    guides.filter((name) => !made.includes(name)),
    [],
  );
  assert.deepEqual(brokenLinks(), []);
});

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1440, 360]) {
    test(`pages read well at ${width} px, ${colorScheme}, and ask no other computer`, async () => {
      const page = await browser.newPage({ colorScheme, viewport: { width, height: 800 } });
      const elsewhere = [];
      page.on('request', (request) => {
        if (!request.url().startsWith(served.origin) && !request.url().startsWith('data:'))
          elsewhere.push(request.url());
      });
      const errors = [];
      page.on('pageerror', (error) => errors.push(String(error)));
      for (const name of PAGES) {
        await page.goto(served.origin + name);
        const dark = await page.evaluate(() => document.documentElement.classList.contains('dark'));
        assert.equal(dark, colorScheme === 'dark');
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${name} is ${wide} px wider than the window`);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() =>
          window.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa'] }),
        );
        const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join('; ')}`);
        assert.deepEqual(found, [], name);
      }
      await page.close();
      assert.deepEqual([errors, elsewhere], [[], []]);
    });
  }
}

test('pages are light, and paint at once', async () => {
  for (const name of PAGES) {
    const page = await browser.newPage();
    await page.goto(served.origin + name, { waitUntil: 'networkidle' });
    const { paint, kilobytes } = await page.evaluate(() => ({
      paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
      kilobytes:
        [...performance.getEntriesByType('resource'), performance.getEntriesByType('navigation')[0]].reduce(
          (sum, { encodedBodySize }) => sum + encodedBodySize,
          0,
        ) / 1000,
    }));
    assert.ok(kilobytes > 100 && kilobytes <= 1100, `${name}: ${kilobytes} KB`);
    assert.ok(paint <= 3000, `${name}: first paint after ${paint} ms`);
    await page.close();
  }
});

test('the search finds guides and the API', async () => {
  const page = await browser.newPage({ viewport: { width: 1440, height: 800 } });
  await page.goto(served.origin);
  await page.getByRole('button', { name: 'Search' }).first().click();
  for (const [words, target] of [
    ['warm pool prefer', '/warm-pools.html'],
    ['keepAlive', '/api/classes/'],
    ['wasm-unsafe-eval', '/troubleshooting.html'],
  ]) {
    await page.locator('.VPLocalSearchBox input').fill(words);
    await page.locator(`.VPLocalSearchBox a[href*="${target}"]`).first().waitFor({ timeout: 10_000 });
  }
  await page.close();
});
