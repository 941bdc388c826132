import type { FileInfo, Machine } from 'nullspace';
import { useEffect, useRef, useState } from 'preact/hooks';

import { did, literal, made, nameOf } from './code';
import { Editor } from './editor';
import { Action, Empty, Field, Loading, Problem } from './parts';

/** Larger files are only downloaded. */
const EDIT_BYTES = 1024 * 1024;

interface Row {
  info: FileInfo;
  level: number;
}

const parent = (path: string) => path.slice(0, path.lastIndexOf('/')) || '/';
const join = (directory: string, name: string) => `${directory === '/' ? '' : directory}/${name}`;
const byKindAndName = (a: FileInfo, b: FileInfo) =>
  a.isDir === b.isDir ? a.name.localeCompare(b.name) : a.isDir ? -1 : 1;

/** A tree of files, and an editor of one. */
export function Files({ machine }: { machine: Machine }) {
  const [root, setRoot] = useState(machine.cwd ?? '/');
  const [typed, setTyped] = useState(root);
  /** What was read, by directory. */
  const [read, setRead] = useState<ReadonlyMap<string, readonly FileInfo[]>>(new Map());
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [focused, setFocused] = useState('');
  const [file, setFile] = useState<FileInfo>();
  const [dirty, setDirty] = useState(false);
  const [error, setError] = useState<unknown>();
  const tree = useRef<HTMLDivElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const opened = useRef(open);
  opened.current = open;

  const look = async (directory: string) => {
    const found = await machine.files.list(directory);
    setRead((before) =>
      new Map(before).set(directory, found.filter((info) => info.path !== directory).sort(byKindAndName)),
    );
  };

  useEffect(() => {
    setRead(new Map());
    setOpen(new Set());
    setError(undefined);
    const watch = machine.files.watch(root, { recursive: true });
    const ignoreEnd = () => {};
    const follow = async () => {
      await look(root);
      for await (const { path } of watch) {
        const changed = parent(path);
        if (changed === root || opened.current.has(changed)) await look(changed).catch(ignoreEnd);
      }
    };
    let left = false;
    follow().catch((failure) => {
      if (!left) setError(failure);
    });
    return () => {
      left = true;
      watch.return?.().catch(ignoreEnd);
    };
  }, [machine, root]);

  const rows: Row[] = [];
  const add = (directory: string, level: number) => {
    for (const info of read.get(directory) ?? []) {
      rows.push({ info, level });
      if (info.isDir && open.has(info.path)) add(info.path, level + 1);
    }
  };
  add(root, 1);
  const at = rows.findIndex((row) => row.info.path === focused);

  const mayLeave = () => !dirty || confirm(`Leave ${file?.name} without saving it?`);
  const choose = (info: FileInfo) => {
    setFocused(info.path);
    if (info.isDir) return toggle(info.path);
    if (info.path === file?.path || !mayLeave()) return;
    setDirty(false);
    setFile(info);
  };
  const toggle = (path: string) => {
    const next = new Set(open);
    if (!next.delete(path)) {
      next.add(path);
      look(path).catch(setError);
    }
    setOpen(next);
  };
  const focus = (row?: Row) => {
    if (!row) return;
    setFocused(row.info.path);
    tree.current?.querySelector<HTMLElement>(`[data-path="${CSS.escape(row.info.path)}"]`)?.focus();
  };
  const onKey = (event: KeyboardEvent) => {
    const row = rows[at];
    if (!row) return;
    const { info } = row;
    const keys: Record<string, () => void> = {
      ArrowDown: () => focus(rows[at + 1]),
      ArrowUp: () => focus(rows[at - 1]),
      Home: () => focus(rows[0]),
      End: () => focus(rows.at(-1)),
      ArrowRight: () => (info.isDir && !open.has(info.path) ? toggle(info.path) : info.isDir && focus(rows[at + 1])),
      ArrowLeft: () =>
        info.isDir && open.has(info.path)
          ? toggle(info.path)
          : focus(rows.find((other) => other.info.path === parent(info.path))),
      Enter: () => choose(info),
      ' ': () => choose(info),
    };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };

  /** Where something new goes: the directory that is chosen, or that of the file that is. */
  const target = () => {
    const info = rows[at]?.info;
    return info ? (info.isDir ? info.path : parent(info.path)) : root;
  };
  const name = () => nameOf(machine.id);
  const ask = (question: string) => prompt(question)?.trim();

  const newFile = async () => {
    const called = ask(`Name of the new file in ${target()}`);
    if (!called || !mayLeave()) return;
    const info = await machine.files.write(join(target(), called), '');
    did(`await ${name()}.files.write(${literal(info.path)}, '');`);
    setOpen(new Set(open).add(target()));
    await look(target());
    setDirty(false);
    setFile(info);
    setFocused(info.path);
  };
  const newDirectory = async () => {
    const called = ask(`Name of the new directory in ${target()}`);
    if (!called) return;
    const path = join(target(), called);
    await machine.files.mkdir(path);
    did(`await ${name()}.files.mkdir(${literal(path)});`);
    await look(target());
  };
  const remove = async () => {
    const info = rows[at]?.info;
    if (!info || !confirm(`Remove ${info.path}${info.isDir ? ' and all in it' : ''}?`)) return;
    await machine.files.remove(info.path);
    did(`await ${name()}.files.remove(${literal(info.path)});`);
    if (file && (file.path === info.path || file.path.startsWith(`${info.path}/`))) {
      setFile(undefined);
      setDirty(false);
    }
    await look(parent(info.path));
  };
  const upload = async (picked: File | undefined) => {
    if (!picked) return;
    try {
      setError(undefined);
      const { path } = await machine.files.upload(picked, join(target(), picked.name));
      did(`await ${name()}.files.upload(${literal(`./${picked.name}`)}, ${literal(path)});`);
      await look(parent(path));
    } catch (failure) {
      setError(failure);
    }
  };
  const download = async () => {
    const info = rows[at]?.info;
    if (!info || info.isDir) return;
    const blob = await machine.files.read(info.path, { format: 'blob' });
    made('blob', `await ${name()}.files.read(${literal(info.path)}, { format: 'blob' })`);
    const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: info.name });
    link.click();
    // The download has begun with the click; the address is not needed any more a moment later.
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const chosen = rows[at]?.info;
  return (
    <div class="files">
      <div class="side">
        <form
          class="root"
          onSubmit={(event) => {
            event.preventDefault();
            setRoot(typed.replace(/(.)\/+$/, '$1') || '/');
          }}
        >
          <Field label="Directory">
            {(ids) => <input {...ids} value={typed} onInput={(e) => setTyped(e.currentTarget.value)} />}
          </Field>
          <button type="submit">Show</button>
        </form>
        <div class="row tools">
          <Action run={newFile} failed={setError}>
            New file
          </Action>
          <Action run={newDirectory} failed={setError}>
            New directory
          </Action>
          <button type="button" onClick={() => picker.current?.click()}>
            Upload
          </button>
          <input
            type="file"
            hidden
            ref={picker}
            aria-label="File to upload"
            onChange={(event) => {
              upload(event.currentTarget.files?.[0]);
              event.currentTarget.value = '';
            }}
          />
          <Action run={download} failed={setError} disabled={!chosen || chosen.isDir}>
            Download
          </Action>
          <Action run={remove} failed={setError} disabled={!chosen}>
            Remove
          </Action>
        </div>
        {error !== undefined && (
          <Problem error={error} retry={() => look(root).then(() => setError(undefined), setError)} />
        )}
        {!read.has(root) && error === undefined && <Loading>Reading {root} …</Loading>}
        {read.has(root) && rows.length === 0 && <Empty>{root} is empty.</Empty>}
        {rows.length > 0 && (
          <div role="tree" aria-label={`Files in ${root}`} class="tree" ref={tree} onKeyDown={onKey}>
            {rows.map(({ info, level }, index) => (
              <div
                key={info.path}
                role="treeitem"
                data-path={info.path}
                aria-level={level}
                aria-selected={info.path === file?.path}
                {...(info.isDir ? { 'aria-expanded': open.has(info.path) } : {})}
                tabIndex={index === Math.max(at, 0) ? 0 : -1}
                style={{ paddingInlineStart: `${level}rem` }}
                onClick={() => choose(info)}
                onFocus={() => setFocused(info.path)}
                onKeyDown={() => {}}
              >
                <span aria-hidden="true">{info.isDir ? (open.has(info.path) ? '▾ ' : '▸ ') : ''}</span>
                {info.name}
              </div>
            ))}
          </div>
        )}
      </div>
      <div class="work">
        {file === undefined ? (
          <Empty>Choose a file to edit it.</Empty>
        ) : (
          <OpenFile key={file.path} machine={machine} info={file} dirty={dirty} setDirty={setDirty} />
        )}
      </div>
    </div>
  );
}

/** A file in the editor. */
function OpenFile(props: { machine: Machine; info: FileInfo; dirty: boolean; setDirty: (dirty: boolean) => void }) {
  const { machine, info, dirty, setDirty } = props;
  const [text, setText] = useState<string>();
  const [error, setError] = useState<unknown>();
  const [said, setSaid] = useState('');
  const [again, setAgain] = useState(0);
  const current = useRef('');
  useEffect(() => {
    setError(undefined);
    if (info.size > EDIT_BYTES) {
      setError(new Error('It is larger than 1 MiB: download it instead.'));
      return;
    }
    machine.files.read(info.path).then((content) => {
      current.current = content;
      setText(content);
    }, setError);
  }, [machine, info.path, again]);

  const save = async () => {
    const saved = current.current;
    await machine.files.write(info.path, saved);
    did(`await ${nameOf(machine.id)}.files.write(${literal(info.path)}, ${literal(saved)});`);
    setSaid('Saved.');
    if (current.current === saved) setDirty(false);
  };
  const saveByKey = () => save().catch(setError);
  return (
    <>
      <div class="row spread">
        <h3>
          {info.path}
          {dirty && <span class="faint"> (changed)</span>}
        </h3>
        <div class="row">
          <span role="status">{said}</span>
          <Action run={save} failed={setError} kind="primary" disabled={text === undefined}>
            Save
          </Action>
        </div>
      </div>
      {error !== undefined && (
        <Problem error={error} retry={text === undefined ? () => setAgain(again + 1) : undefined} />
      )}
      {text === undefined && error === undefined && <Loading>Reading {info.path} …</Loading>}
      {text !== undefined && (
        <Editor
          name={info.path}
          text={text}
          save={saveByKey}
          change={(next) => {
            current.current = next;
            setSaid('');
            setDirty(true);
          }}
        />
      )}
    </>
  );
}
