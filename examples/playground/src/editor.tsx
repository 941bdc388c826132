import { javascript } from '@codemirror/lang-javascript';
import { python } from '@codemirror/lang-python';
import { HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { EditorState } from '@codemirror/state';
import { EditorView, keymap } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { basicSetup } from 'codemirror';
import { useEffect, useRef } from 'preact/hooks';

/** Colours of style.css, which are light or dark. */
const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword], color: 'var(--code-keyword)' },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--code-number)' },
  { tag: tags.comment, color: 'var(--faint)', fontStyle: 'italic' },
  { tag: [tags.function(tags.variableName), tags.definition(tags.variableName)], color: 'var(--code-name)' },
]);
const look = EditorView.theme({
  '&': { backgroundColor: 'var(--field)', color: 'var(--text)', height: '100%' },
  '.cm-content': { caretColor: 'var(--text)', fontFamily: 'var(--mono)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-gutters': { backgroundColor: 'var(--raised)', color: 'var(--faint)', border: 'none' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'transparent' },
  '&.cm-focused .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'var(--selection) !important' },
});

const language = (name: string) => {
  if (/\.(m|c)?[jt]sx?$/.test(name))
    return javascript({ typescript: /\.(m|c)?tsx?$/.test(name), jsx: /x$/.test(name) });
  return name.endsWith('.py') ? python() : [];
};

/** An editor of a text. Tab leaves it, as on any page. */
export function Editor(props: {
  name: string;
  text: string;
  change: (text: string) => void;
  save: () => void;
  /** Shift Enter, where it runs something. */
  run?: () => void;
  /** As high as its text. */
  small?: boolean;
}) {
  const place = useRef<HTMLDivElement>(null);
  const handlers = useRef(props);
  handlers.current = props;
  useEffect(() => {
    const view = new EditorView({
      parent: place.current as HTMLDivElement,
      state: EditorState.create({
        doc: props.text,
        extensions: [
          keymap.of([
            {
              key: 'Mod-s',
              preventDefault: true,
              run: () => {
                handlers.current.save();
                return true;
              },
            },
          ]),
          keymap.of([
            {
              key: 'Shift-Enter',
              run: () => {
                handlers.current.run?.();
                return handlers.current.run !== undefined;
              },
            },
          ]),
          basicSetup,
          language(props.name),
          syntaxHighlighting(colours),
          look,
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ 'aria-label': `Text of ${props.name}` }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) handlers.current.change(update.state.doc.toString());
          }),
        ],
      }),
    });
    return () => view.destroy();
  }, [props.name]);
  return <div class={props.small ? 'editor small' : 'editor'} ref={place} />;
}
