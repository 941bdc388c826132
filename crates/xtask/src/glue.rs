//! Changes to the glue that wasm-bindgen makes (target web), so that a crash of the module is survived.
//!
//! A panic on `panic = "abort"` ends in a trap. The panic hook asks wasm-bindgen for a new instance
//! (`schedule_reinit`), which the next call from JavaScript makes. What stays wrong without these changes: promises
//! of the dead instance never settle, and its late timers and answers throw where nobody catches. Each change names
//! the exact text it replaces and how often that occurs: a wasm-bindgen that writes something else fails the build.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{ensure, Context, Result};

/// Text, its replacement, how often it must occur.
const CHANGES: [(&str, &str, usize); 3] = [
    // Answers and timers of a dead instance come late. They are nobody's: the calls were rejected in the crash. The
    // instance is also dead when its successor was asked for but not made yet: the call itself would make it, and
    // hand it addresses of the old one.
    (
        "if (state.instance !== __wbg_instance_id) {
                        throw new Error('Cannot invoke closure from previous WASM instance');
                    }",
        "if (state.instance !== __wbg_instance_id || __wbg_reinit_scheduled) return;",
        1,
    ),
    // Everything that JavaScript calls back runs through here: microtasks (polls of futures), promise reactions,
    // timers. A trap in one of them has no caller who could catch it. The hook runs for panics only; a stack
    // overflow or a failed allocation arrives here without it.
    (
        "return f(a, state.b, ...args);
                        } finally {
                            state.a = a;
                            real._wbg_cb_unref();
                        }",
        "return f(a, state.b, ...args);
                        } catch (error) {
                            if (trapped(error)) __wbg_reinit_scheduled = true;
                            else passed(error);
                        } finally {
                            state.a = a;
                            if (!__wbg_reinit_scheduled) real._wbg_cb_unref();
                        }",
        1,
    ),
    // The closure may have outlived its instance, whose addresses mean something else in the next one.
    (
        "if (--state.cnt === 0) {",
        "if (--state.cnt === 0 && state.instance === __wbg_instance_id) {",
        1,
    ),
];

/// How a handle finds out that its instance is dead. The same gap is closed here.
const STALE: &str = "if (this.__wbg_inst !== undefined && this.__wbg_inst !== __wbg_instance_id) {
throw new Error('Invalid stale object from previous Wasm instance');
}";

/// How a handle knows its instance: ten times slower than an assignment. `__wbg_ptr` beside it can be seen as well.
const OWNED: &str = "Object.defineProperty(obj, '__wbg_inst', { value: __wbg_instance_id, writable: true });";

/// Everything from here on loads the module by URL, which the package does by itself: bundlers would find
/// `fetch` and `Request` in it, and `instanceof WebAssembly.Module` is false for a module of another realm.
const LOADERS: &str = "async function __wbg_load(module, imports) {";

const ENDING: &str = "
// The package's own ending, instead of wasm-bindgen's loaders.

/** Makes the first instance. */
export function instantiate(module) {
  if (wasm === undefined) __wbg_finalize_init(new WebAssembly.Instance(module, __wbg_get_imports()), module);
}

/** After a trap: the next call into the module makes a new instance first. */
export function replaceInstance() {
  __wbg_reinit_scheduled = true;
}

/** Functions of the module, by the names that their class has for them. `counts` are those of their parameters, by the same names. */
function calls(type, counts) {
  const all = {};
  for (const key of Object.keys(counts)) {
    const name = `${type}__${key}`;
    const call = (...args) => {
      __wbg_call_guard();
      return wasm[name](...args);
    };
    all[key] = Object.defineProperty(call, 'length', { value: counts[key] });
  }
  return all;
}

/** Whether a handle is one of this instance. */
export const isCurrent = (handle) => handle.__wbg_inst === __wbg_instance_id && !__wbg_reinit_scheduled;
";

/// Gives imports shorter names, and tells which became what. Each has a hash of 16 digits in its name, which cannot be compressed and is
/// shipped twice; it tells apart what has one name, and so does a number.
pub fn rename(imports: Vec<&mut String>) -> Vec<(String, String)> {
    let mut taken: BTreeSet<String> = imports.iter().map(|name| (**name).clone()).collect();
    let mut renamed = Vec::new();
    for name in imports {
        let Some(short) = without_hash(name) else { continue };
        let numbered = (2..).map(|number| format!("{short}{number}"));
        let free = std::iter::once(short.to_owned())
            .chain(numbered)
            .find(|name| !taken.contains(name));
        let Some(free) = free else { continue };
        taken.insert(free.clone());
        renamed.push((std::mem::replace(name, free.clone()), free));
    }
    renamed
}

/// `__wbg_answer_d2a5c8a265e66bb4` -> `answer`
fn without_hash(name: &str) -> Option<&str> {
    let (short, hash) = name.strip_prefix("__wbg_")?.rsplit_once('_')?;
    (hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(short)
}

/// The glue as the package ships it. `renamed` are the names of imports, old and new.
pub fn patch(generated: &str, renamed: &[(String, String)]) -> Result<String> {
    let mut glue = generated.to_owned();
    for (old, new) in renamed {
        let old = format!("{old}: function");
        ensure!(
            glue.matches(&old).count() == 1,
            "the glue has no import, or more than one, with {old}"
        );
        glue = glue.replace(&old, &format!("{new}: function"));
    }
    for (from, to, times) in CHANGES {
        let found = glue.matches(from).count();
        ensure!(
            found == times,
            "the glue has this {found} times, not {times}; see crates/xtask/src/glue.rs:\n{from}"
        );
        glue = glue.replace(from, to);
    }
    ensure!(
        glue.contains(STALE),
        "the glue has no check for handles of a dead instance"
    );
    glue = glue.replace(
        STALE,
        "if (this.__wbg_inst !== __wbg_instance_id || __wbg_reinit_scheduled) throw stale();",
    );
    ensure!(
        !glue.contains("Invalid stale object"),
        "a check for handles of a dead instance has another form"
    );

    ensure!(
        glue.contains(OWNED),
        "handles learn their instance in another way"
    );
    glue = glue.replace(OWNED, "obj.__wbg_inst = __wbg_instance_id;");

    let end = glue
        .find(LOADERS)
        .context("the glue has no loaders where they were expected")?;
    glue.truncate(end);

    // `free` of a handle whose instance died would free memory of the next one: there is no check. lib.js removes
    // it from the prototypes, and Symbol.dispose must not bring it back.
    let disposers = glue
        .lines()
        .filter(|line| line.starts_with("if (Symbol.dispose)"))
        .count();
    let classes = glue
        .lines()
        .filter(|line| line.starts_with("export class "))
        .count();
    // Handles come from calls only. (`__wrap` makes them without the constructor.)
    glue = glue
        .split_inclusive('\n')
        .map(|line| {
            match line
                .strip_prefix("export class ")
                .and_then(|rest| rest.strip_suffix(" {\n"))
            {
                Some(name) => format!("{line}constructor() {{\nillegal('{name}');\n}}\n"),
                None => line.to_owned(),
            }
        })
        .collect();
    ensure!(
        disposers == classes,
        "{classes} classes, {disposers} of them with Symbol.dispose"
    );
    glue = glue
        .lines()
        .filter(|line| !line.starts_with("if (Symbol.dispose)"))
        .collect::<Vec<_>>()
        .join("\n");
    glue = without_repeated_imports(&glue);
    glue = with_calls(&without_comments(&glue))?;

    Ok(format!(
        "import {{ illegal, passed, stale, trapped }} from './runtime.js';\n{}\n{ENDING}",
        glue.trim_end()
    ))
}

/// Every `extern "C"` block brings its own namespace import of `runtime.js` and its own, equal, key in the table of
/// imports. One is enough; bundlers warn about the rest.
fn without_repeated_imports(glue: &str) -> String {
    let name = |line: &str| -> Option<String> {
        let import = line
            .strip_prefix("import * as ")
            .and_then(|rest| rest.strip_suffix(" from \"./runtime.js\""));
        let key = line
            .trim_start()
            .strip_prefix("\"./runtime.js\": ")
            .and_then(|rest| rest.strip_suffix(','));
        import.or(key).map(str::to_owned)
    };
    let first = glue.lines().find_map(name);
    glue.lines()
        .filter(|line| name(line).is_none_or(|name| Some(name) == first))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Without the comments of functions: pages that have no bundler load them.
fn without_comments(glue: &str) -> String {
    let is_comment = |line: &&str| {
        let text = line.trim_start();
        text.starts_with("/**") || text.starts_with("* ") || text == "*/"
    };
    glue.lines()
        .filter(|line| !is_comment(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A function of the module takes and gives values of JavaScript as they are, nearly always, and then the glue is the same text with
/// another name: it becomes an entry of a table. `Class__key` are the functions whose table `Class` is.
fn with_calls(glue: &str) -> Result<String> {
    let lines: Vec<&str> = glue.lines().collect();
    let mut tables: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut kept = Vec::new();
    let mut plain = BTreeSet::new();
    let mut at = 0;
    while at < lines.len() {
        if let Some((class, key, count)) = plain_call(&lines[at..]) {
            tables.entry(class).or_default().push(format!("{key}: {count}"));
            plain.insert(format!("{class}.{key} = {class}__{key};"));
            at += PLAIN_LINES;
        } else {
            kept.push(lines[at]);
            at += 1;
        }
    }
    let mut glue = String::new();
    for line in kept {
        let empty = line
            .strip_prefix("export const ")
            .and_then(|rest| rest.strip_suffix(" = {};"));
        match empty.and_then(|class| Some((class, tables.remove(class)?))) {
            Some((class, counts)) => {
                writeln!(
                    glue,
                    "export const {class} = calls('{class}', {{ {} }});",
                    counts.join(", ")
                )?;
            }
            None if plain.contains(line) => {}
            None => writeln!(glue, "{line}")?,
        }
    }
    ensure!(
        tables.is_empty(),
        "the glue has functions of {:?}, and no object for them",
        tables.keys()
    );
    Ok(glue)
}

/// Lines of a function that only calls one of the module.
const PLAIN_LINES: usize = 6;

/// Such a function at the beginning of these lines: its class, its name there, how many parameters it has.
fn plain_call<'a>(lines: &[&'a str]) -> Option<(&'a str, &'a str, usize)> {
    let (name, parameters) = lines
        .first()?
        .strip_prefix("function ")?
        .strip_suffix(") {")?
        .split_once('(')?;
    let (class, key) = name.split_once("__")?;
    let body = [
        "let ret;",
        "__wbg_call_guard();",
        &format!("ret = wasm.{name}({parameters});"),
        "return ret;",
        "}",
    ];
    (lines.get(1..PLAIN_LINES)? == body).then(|| (class, key, parameters.split_terminator(", ").count()))
}

#[cfg(test)]
mod tests {
    use super::{rename, with_calls};

    #[test]
    fn imports_have_no_hashes() {
        let mut names = [
            "__wbg_get_2080c49015e35254",
            "__wbg_get_556f1c9a5c587e8c",
            "__wbg_feed_new",
            "uuid",
            "__wbg_uuid_9f1b17b1e9245a6d",
        ]
        .map(str::to_owned);
        let renamed = rename(names.iter_mut().collect());
        assert_eq!(names, ["get", "get2", "__wbg_feed_new", "uuid", "uuid2"]);
        assert_eq!(
            renamed[1],
            ("__wbg_get_556f1c9a5c587e8c".to_owned(), "get2".to_owned())
        );
    }

    #[test]
    fn functions_that_only_call_the_module_are_a_table() {
        let glue = "function Volume___delete(id, options) {\nlet ret;\n__wbg_call_guard();\nret = wasm.Volume___delete(id, options);\nreturn ret;\n}\n\
                    function Volume__size(id) {\nlet ret;\n__wbg_call_guard();\nret = wasm.Volume__size(id);\nreturn ret !== 0;\n}\n\
                    export const Volume = {};\nVolume._delete = Volume___delete;\nVolume.size = Volume__size;\n";
        assert_eq!(
            with_calls(glue).unwrap(),
            "function Volume__size(id) {\nlet ret;\n__wbg_call_guard();\nret = wasm.Volume__size(id);\nreturn ret !== 0;\n}\n\
             export const Volume = calls('Volume', { _delete: 2 });\nVolume.size = Volume__size;\n"
        );
    }
}
