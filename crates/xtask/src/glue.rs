//! Changes to the glue that wasm-bindgen makes (target web), so that a crash of the module is survived.
//!
//! A panic on `panic = "abort"` ends in a trap. The panic hook asks wasm-bindgen for a new instance
//! (`schedule_reinit`), which the next call from JavaScript makes. What stays wrong without these changes: promises
//! of the dead instance never settle, and its late timers and answers throw where nobody catches. Each change names
//! the exact text it replaces and how often that occurs: a wasm-bindgen that writes something else fails the build.

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

/** Whether a handle is one of this instance. */
export const isCurrent = (handle) => handle.__wbg_inst === __wbg_instance_id && !__wbg_reinit_scheduled;
";

/// The glue as the package ships it.
pub fn patch(generated: &str) -> Result<String> {
    let mut glue = generated.to_owned();
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
