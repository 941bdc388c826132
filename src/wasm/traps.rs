//! Ways to crash the module, for tests/wasm (feature `traps`). Never in a published package.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{spawn_local, JsFuture};

use super::call;
use crate::client::Failure;

#[wasm_bindgen]
extern "C" {
    /// As imports are that nobody expects to throw.
    #[wasm_bindgen(js_namespace = Reflect, js_name = get)]
    fn get(target: &JsValue, name: &str) -> JsValue;
}

/// Each one happens at once, or, with `later`, in a microtask that has no caller.
#[wasm_bindgen(skip_typescript)]
pub struct Traps;

fn run(later: bool, crash: fn()) {
    if later {
        spawn_local(async move { crash() });
    } else {
        crash();
    }
}

#[wasm_bindgen]
impl Traps {
    /// A Rust panic: the hook runs, then `unreachable`.
    pub fn panic(later: bool) {
        run(later, || panic!("asked to"));
    }

    /// No crash: a call whose second step reads `value`, of which it does not think that it may throw.
    pub fn read(target: JsValue) -> Promise {
        call::start(Box::pin(async move {
            let waited = JsFuture::from(Promise::resolve(&JsValue::NULL)).await;
            waited.map_err(Failure::Thrown)?;
            Ok(get(&target, "value"))
        }))
    }

    /// Endless recursion: no hook runs.
    #[wasm_bindgen(js_name = stackOverflow)]
    pub fn stack_overflow(later: bool) {
        run(later, || {
            std::hint::black_box(deeper(&[1; 64]));
        });
    }

    /// An allocation that cannot be had: no hook runs.
    #[wasm_bindgen(js_name = outOfMemory)]
    pub fn out_of_memory(later: bool) {
        run(later, || {
            let mut all = Vec::new();
            loop {
                // Never written to, so that the computer's own memory is not used.
                all.push(std::hint::black_box(Vec::<u8>::with_capacity(64 << 20)));
            }
        });
    }
}

#[allow(unconditional_recursion)]
fn deeper(above: &[u64; 64]) -> u64 {
    let mut here = *above;
    here[0] = here[0].wrapping_add(std::hint::black_box(here[63]));
    deeper(&here).wrapping_add(here[1])
}
