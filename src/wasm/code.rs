//! The exported class `CodeInterpreter`: one function, of which the package makes the public ones. Each export of its own
//! would be another state machine of a kilobyte.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::argument;
use super::machine::Machine;
use super::single::single;
use super::transport::JsTransport;
use crate::client::machine::Machine as Inner;
use crate::core::code;

/// The code interpreter of a machine.
#[wasm_bindgen(skip_typescript)]
pub struct CodeInterpreter {
    machine: Rc<Inner<JsTransport>>,
}

#[wasm_bindgen]
impl Machine {
    /// The code interpreter.
    #[wasm_bindgen(getter, js_name = codeInterpreter)]
    pub fn code_interpreter(&self) -> CodeInterpreter {
        CodeInterpreter {
            machine: self.inner.clone(),
        }
    }
}

#[wasm_bindgen]
impl CodeInterpreter {
    /// Sends the request of a verb.
    pub fn send(&self, verb: String, about: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            Ok(self.machine.code(code::request(&verb, &argument(&about)?, read)?))
        })
    }
}
