// The site of the documentation. Its pages are put together by scripts/lib/site.mjs.

import { existsSync, readFileSync } from 'node:fs';

import { defineConfig } from 'vitepress';

const read = (name: string) => {
  const file = new URL(`../.site/${name}`, import.meta.url);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : [];
};
const guides = read('sidebar.json');
// Groups that fold hold a button in a button, which screen readers cannot press.
const api = read('api/typedoc-sidebar.json').map(({ text, items }: { text: string; items: unknown }) => ({
  text,
  items,
}));

export default defineConfig({
  srcDir: '.site',
  srcExclude: ['parts/**'],
  outDir: '../dist/site',
  cacheDir: '../.nullspace-dev/vitepress',
  lang: 'en',
  title: 'nullspace',
  description: 'Isolated Linux machines for JavaScript: SDK and local engine',
  // Where it is served: a path that ends with a slash.
  base: process.env.NULLSPACE_DOCS_BASE ?? '/',
  // Any server of files can serve it.
  cleanUrls: false,
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  markdown: { theme: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' } },
  // The API reference is one page a class, and the search index of all of them is one file.
  vite: { build: { chunkSizeWarningLimit: 2048 } },
  themeConfig: {
    nav: [
      { text: 'Get started', link: '/start' },
      { text: 'Guides', link: '/guides' },
      { text: 'API reference', link: '/api/' },
      { text: 'Errors', link: '/errors' },
      { text: 'Changes', link: '/changelog' },
    ],
    sidebar: {
      '/api/': [{ text: 'API reference', items: [{ text: 'Overview', link: '/api/' }] }, ...api],
      '/': [
        {
          text: 'Nullspace',
          items: [
            { text: 'Get started', link: '/start' },
            { text: 'All guides', link: '/guides' },
            { text: 'API reference', link: '/api/' },
            { text: 'Security', link: '/security' },
            { text: 'Changes', link: '/changelog' },
          ],
        },
        ...guides,
      ],
    },
    search: { provider: 'local', options: { detailedView: true } },
    outline: [2, 3],
  },
});
