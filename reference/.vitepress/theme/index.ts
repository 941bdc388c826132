import DefaultTheme from 'vitepress/theme';
import { h } from 'vue';

// Made of README.md by scripts/lib/site.mjs.
import FirstProgram from '../../.site/parts/first-program.md';
import './style.css';

export default {
  extends: DefaultTheme,
  Layout: () =>
    h(DefaultTheme.Layout, null, {
      'home-hero-image': () => h('div', { class: 'first-program vp-doc' }, h(FirstProgram)),
    }),
};
