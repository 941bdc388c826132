// The documentation as a site: guides of docs/, README and the API reference, made by VitePress out of one folder.

import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';

import { inRoot } from './project.mjs';

/** What VitePress reads; made anew each time. It stands beside the packages, which its pages import. */
const source = inRoot('reference', '.site');
/** What it makes. */
export const site = inRoot('dist', 'site');

/** Pages of the site by the files of the repository. */
const pages = () =>
  new Map([
    ['README.md', 'start.md'],
    ['CHANGELOG.md', 'changelog.md'],
    ['SECURITY.md', 'security.md'],
    ...readdirSync(inRoot('docs'))
      .filter((name) => name.endsWith('.md'))
      .map((name) => [`docs/${name}`, name === 'README.md' ? 'guides.md' : name]),
  ]);

/** Links lead to pages of the site; where the site has none, the text stays. */
function relink(text, file, known) {
  return text.replaceAll(/(!?)\[([^\]]+)\]\(([^)\s]+)\)/g, (link, isPicture, words, target) => {
    if (/^(https?:|#)/.test(target)) return link;
    const [place, anchor] = target.split('#');
    const meant = path.posix.normalize(path.posix.join(path.posix.dirname(file), place));
    // Pictures are copied as they are.
    if (isPicture) return `![${words}](./${path.posix.relative('docs', meant)})`;
    const page = meant === 'pkg-template/index.d.ts' ? 'api/index.md' : known.get(meant);
    if (!page && !existsSync(inRoot(meant))) throw new Error(`${file} links to ${target}, which is not there`);
    // A file name is no title: on the site, pages have one.
    const shown = /^[\w-]+\.md$/.test(words) && page ? titleOf(readFileSync(inRoot(meant), 'utf8')) : words;
    return page ? `[${shown}](./${page}${anchor ? `#${anchor}` : ''})` : shown;
  });
}

const titleOf = (text) => text.match(/^# (.*)$/m)[1];

/** The groups of guides, as docs/README.md has them: `{ text, items: [{ text, link }] }`. */
function sidebar() {
  const list = readFileSync(inRoot('docs', 'README.md'), 'utf8');
  return list
    .split(/^## /m)
    .slice(1)
    .map((section) => ({
      text: section.split('\n')[0],
      items: [...section.matchAll(/\]\(([\w-]+\.md)\)/g)].map(([, name]) => ({
        text: titleOf(readFileSync(inRoot('docs', name), 'utf8')).split(':')[0],
        link: `/${name.replace(/\.md$/, '')}`,
      })),
    }));
}

/** Puts together what VitePress reads, but for the API reference, which typedoc writes into it. */
export function siteSource() {
  rmSync(source, { recursive: true, force: true });
  mkdirSync(source, { recursive: true });
  const known = pages();
  for (const [file, page] of known) {
    writeFileSync(path.join(source, page), relink(readFileSync(inRoot(file), 'utf8'), file, known));
  }
  cpSync(inRoot('docs', 'pictures'), path.join(source, 'pictures'), { recursive: true });
  cpSync(inRoot('reference', 'home.md'), path.join(source, 'index.md'));
  const [program] = readFileSync(inRoot('README.md'), 'utf8').match(/^```js\n[\s\S]*?^```$/m);
  mkdirSync(path.join(source, 'parts'));
  writeFileSync(path.join(source, 'parts', 'first-program.md'), `${program}\n`);
  writeFileSync(path.join(source, 'sidebar.json'), JSON.stringify(sidebar()));
}

/** Links of the built site that lead nowhere: to no page, or to no place of a page. */
export function brokenLinks(directory = site) {
  const files = readdirSync(directory, { recursive: true }).filter((name) => name.endsWith('.html'));
  const texts = new Map(files.map((name) => [`/${name}`, readFileSync(path.join(directory, name), 'utf8')]));
  const broken = [];
  for (const [page, text] of texts) {
    for (const [, href] of text.matchAll(/<a\b[^>]*?\bhref="([^"]+)"/g)) {
      if (/^(https?:|mailto:)/.test(href)) continue;
      const { pathname, hash } = new URL(href.replaceAll('&amp;', '&'), `http://site${page}`);
      const target = decodeURIComponent(pathname.endsWith('/') ? `${pathname}index.html` : pathname);
      const there = texts.get(target) ?? (existsSync(path.join(directory, target)) && '');
      const id = decodeURIComponent(hash.slice(1));
      if (there === false) broken.push(`${page}: ${href}`);
      else if (id && !there.includes(`id="${id.replaceAll('&', '&amp;')}"`)) broken.push(`${page}: ${href}`);
    }
  }
  return broken;
}

export const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** Serves the built site on loopback. Resolves with `{ origin, close }`. */
export async function serveSite({ directory = site, port = 0 } = {}) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://site');
    const name = decodeURIComponent(pathname.endsWith('/') ? `${pathname}index.html` : pathname);
    // Names of the listing only: nothing outside of the site is one.
    const known = path.posix.normalize(name) === name && existsSync(path.join(directory, name));
    const file = path.join(directory, known ? name : '404.html');
    response.writeHead(known ? 200 : 404, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
    response.end(readFileSync(file));
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}
