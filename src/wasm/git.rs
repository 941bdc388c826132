//! The exported class `Git`.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, on_handle};
use super::machine::Machine;
use super::single::single;
use super::transport::JsTransport;
use crate::client::machine::Machine as Inner;
use crate::core::options::Value;

/// Git in a machine.
#[wasm_bindgen(skip_typescript)]
pub struct Git {
    machine: Rc<Inner<JsTransport>>,
}

#[wasm_bindgen]
impl Machine {
    /// Git.
    #[wasm_bindgen(getter)]
    pub fn git(&self) -> Git {
        Git {
            machine: self.inner.clone(),
        }
    }
}

#[wasm_bindgen]
impl Git {
    /// Clones a repository.
    pub fn clone(&self, url: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| self.machine.git_clone(&argument(&url)?, read))
    }

    /// What has changed.
    pub fn status(&self, options: JsValue) -> Promise {
        single(&options, &|read| self.machine.git_status(read))
    }

    /// Commits, newest first.
    pub fn log(&self, options: JsValue) -> Promise {
        single(&options, &|read| self.machine.git_log(read))
    }

    /// Local branches.
    pub fn branches(&self, options: JsValue) -> Promise {
        single(&options, &|read| self.machine.git_branches(read))
    }

    /// Makes a branch.
    #[wasm_bindgen(js_name = createBranch)]
    pub fn create_branch(&self, name: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            self.machine.git_branch("create", &argument(&name)?, read)
        })
    }

    /// Deletes one.
    #[wasm_bindgen(js_name = deleteBranch)]
    pub fn delete_branch(&self, name: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            self.machine.git_branch("delete", &argument(&name)?, read)
        })
    }

    /// Changes to a branch, tag or commit.
    pub fn checkout(&self, reference: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            self.machine.git_checkout(&argument(&reference)?, read)
        })
    }

    /// Adds files.
    pub fn add(&self, options: JsValue) -> Promise {
        single(&options, &|read| self.machine.git_add(read))
    }

    /// Commits.
    pub fn commit(&self, message: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            self.machine.git_commit(&argument(&message)?, read)
        })
    }

    /// Pulls.
    pub fn pull(&self, options: JsValue) -> Promise {
        single(&options, &|read| self.machine.git_sync("pull", read))
    }

    /// Pushes.
    pub fn push(&self, options: JsValue) -> Promise {
        single(&options, &|read| self.machine.git_sync("push", read))
    }

    /// What is not added yet.
    pub fn diff(&self, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            machine.git_diff(read.as_ref()).await
        })
    }

    /// Names a remote.
    #[wasm_bindgen(js_name = remoteAdd)]
    pub fn remote_add(&self, name: JsValue, url: JsValue, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            let (name, url) = (argument(&name)?, argument(&url)?);
            machine.git_remote_add(&name, &url, read.as_ref()).await
        })
    }

    /// Keeps a setting.
    #[wasm_bindgen(js_name = setConfig)]
    pub fn set_config(&self, key: JsValue, value: JsValue, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            let (key, value) = (argument(&key)?, argument(&value)?);
            machine.git_set_config(&key, &value, read.as_ref()).await
        })
    }

    /// A setting.
    #[wasm_bindgen(js_name = getConfig)]
    pub fn get_config(&self, key: JsValue, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            machine.git_get_config(&argument(&key)?, read.as_ref()).await
        })
    }

    /// Who commits.
    #[wasm_bindgen(js_name = configureUser)]
    pub fn configure_user(&self, name: JsValue, email: JsValue, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            for (key, value) in [("user.name", name), ("user.email", email)] {
                let key = Value::Text(key.to_owned());
                machine
                    .git_set_config(&key, &argument(&value)?, read.as_ref())
                    .await?;
            }
            Ok(())
        })
    }

    /// Keeps credentials in the machine.
    #[wasm_bindgen(js_name = dangerouslyAuthenticate)]
    pub fn dangerously_authenticate(&self, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            machine.git_store_credentials(read.as_ref()).await
        })
    }

    /// Keeps a private key in the machine.
    #[wasm_bindgen(js_name = addSshKey)]
    pub fn add_ssh_key(&self, key: JsValue, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            machine.git_add_ssh_key(&argument(&key)?, read.as_ref()).await
        })
    }
}
