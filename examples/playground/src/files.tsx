import type { FileInfo, Machine } from 'nullspace';
import { useEffect, useRef, useState } from 'preact/hooks';

import { did, literal, made, nameOf } from './code';
import { Editor } from './editor';
import { Action, bytes, dateAndTime, Empty, Field, Loading, message, Problem } from './parts';

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

/** Media types of pictures by the ends of their names. */
const PICTURES: Record<string, string> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  svg: 'image/svg+xml',
};
const pictureType = (name: string) => PICTURES[name.slice(name.lastIndexOf('.') + 1).toLowerCase()];

/** The directories above a path, from the root: `/`, `/srv`, `/srv/app`. */
const above = (path: string) => {
  const all = ['/'];
  for (const name of path.split('/').filter(Boolean)) all.push(join(all.at(-1) as string, name));
  return all;
};

/** A tree of files, and an editor of one. */
export function Files({ machine }: { machine: Machine }) {
  const [root, setRoot] = useState(machine.cwd ?? '/');
  const [typed, setTyped] = useState(root);
  const [dropping, setDropping] = useState(false);
  const [said, setSaid] = useState('');
  const show = (directory: string) => {
    setTyped(directory);
    setRoot(directory);
  };
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
  const upload = async (picked: readonly File[], directory = target()) => {
    setError(undefined);
    try {
      for (const [index, one] of picked.entries()) {
        setSaid(`Uploading ${one.name}, ${index + 1} of ${picked.length} …`);
        const { path } = await machine.files.upload(one, join(directory, one.name));
        did(`await ${name()}.files.upload(${literal(`./${one.name}`)}, ${literal(path)});`);
      }
      await look(directory);
    } catch (failure) {
      setError(failure);
    } finally {
      setSaid('');
    }
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setDropping(false);
    const row = (event.target as HTMLElement).closest<HTMLElement>('[data-path]');
    const info = rows.find((one) => one.info.path === row?.dataset.path)?.info;
    const directory = info ? (info.isDir ? info.path : parent(info.path)) : root;
    upload([...(event.dataTransfer?.files ?? [])], directory);
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
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the button Upload does the same for a keyboard */}
      <div
        class="side"
        data-dropping={dropping}
        onDragOver={(event) => {
          event.preventDefault();
          setDropping(true);
        }}
        onDragLeave={() => setDropping(false)}
        onDrop={drop}
      >
        <nav class="crumbs" aria-label="Directories above">
          {above(root).map((directory, index) => (
            <span key={directory}>
              {index > 1 && <span aria-hidden="true">/</span>}
              <button
                type="button"
                class="quiet"
                aria-current={directory === root ? 'location' : undefined}
                onClick={() => show(directory)}
              >
                {index === 0 ? '/' : directory.slice(directory.lastIndexOf('/') + 1)}
              </button>
            </span>
          ))}
        </nav>
        <form
          class="root"
          onSubmit={(event) => {
            event.preventDefault();
            show(typed.replace(/(.)\/+$/, '$1') || '/');
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
            multiple
            hidden
            ref={picker}
            aria-label="File to upload"
            onChange={(event) => {
              upload([...(event.currentTarget.files ?? [])]);
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
        {said && (
          <p class="hint" role="status">
            {said}
          </p>
        )}
        {!read.has(root) && error === undefined && <Loading>Reading {root} …</Loading>}
        {read.has(root) && rows.length === 0 && <Empty>{root} is empty. Drop files here.</Empty>}
        {rows.length > 0 && (
          <div role="tree" aria-label={`Files in ${root}`} class="tree" ref={tree} onKeyDown={onKey}>
            {rows.map(({ info, level }, index) => (
              <div
                key={info.path}
                role="treeitem"
                aria-label={info.name}
                title={`${info.permissions ?? ''} ${info.owner ?? ''} ${info.symlinkTarget ? `→ ${info.symlinkTarget}` : ''}`.trim()}
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
                <span class="name">
                  <span aria-hidden="true">{info.isDir ? (open.has(info.path) ? '▾ ' : '▸ ') : ''}</span>
                  {info.name}
                </span>
                <span class="size" aria-hidden="true">
                  {info.isDir ? '' : bytes(info.size)}
                </span>
                <span class="date" aria-hidden="true">
                  {info.modifiedTime ? dateAndTime(info.modifiedTime) : ''}
                </span>
              </div>
            ))}
          </div>
        )}
      </div>
      <div class="work">
        {file === undefined ? (
          <Empty>Choose a file to edit or to see it.</Empty>
        ) : pictureType(file.name) ? (
          <Picture key={`${file.path} ${file.size}`} machine={machine} info={file} />
        ) : (
          <OpenFile key={file.path} machine={machine} info={file} dirty={dirty} setDirty={setDirty} />
        )}
      </div>
    </div>
  );
}

/** A picture, as it is. */
function Picture({ machine, info }: { machine: Machine; info: FileInfo }) {
  const [source, setSource] = useState<string>();
  const [problem, setProblem] = useState('');
  useEffect(() => {
    const read = async () => {
      const content = await machine.files.read(info.path, { format: 'bytes' });
      // The page may load no other images than its own and `data:`.
      const reader = new FileReader();
      reader.onload = () => setSource(String(reader.result));
      reader.readAsDataURL(new Blob([content as BlobPart], { type: pictureType(info.name) }));
    };
    read().catch((failure) => setProblem(message(failure)));
  }, [machine, info.path]);
  return (
    <figure class="picture">
      <figcaption>
        <h3>{info.path}</h3>
        <span class="faint">{bytes(info.size)}</span>
      </figcaption>
      {problem && <p class="field-error">{problem}</p>}
      {source && <img src={source} alt={info.name} />}
    </figure>
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
