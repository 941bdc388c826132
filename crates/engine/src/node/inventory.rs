//! What the node has, told as changes since a gateway last took it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::messages::{Entry, Inventory};
use crate::machine::{Engine, Result};

/// What was told, and taken.
#[derive(Default)]
pub struct Told {
    /// Digest of each thing by id.
    known: HashMap<String, u64>,
    /// Everything is to be told: nothing was yet, or somebody asked for it.
    is_due: bool,
}

/// An inventory on its way; [`Told::take`] notes that it arrived.
pub struct Telling {
    /// To be sent.
    pub inventory: Inventory,
    known: HashMap<String, u64>,
}

impl Told {
    /// Nothing was told.
    pub fn nothing() -> Self {
        Self {
            known: HashMap::new(),
            is_due: true,
        }
    }

    /// What is to be told now.
    pub async fn tell(&self, engine: &Engine) -> Result<Telling> {
        let contents = engine.contents().await?;
        let mut known = HashMap::with_capacity(contents.len());
        let mut entries = Vec::new();
        for content in contents {
            let digest = digest(&content.stored);
            let is_new = self.known.get(&content.id) != Some(&digest);
            if self.is_due || is_new {
                if let Some(info) = engine.shown(&content).await {
                    entries.push(Entry {
                        kind: content.thing,
                        id: content.id.clone(),
                        seq: content.seq,
                        info,
                    });
                }
            }
            known.insert(content.id, digest);
        }
        let gone = self
            .known
            .keys()
            .filter(|id| !known.contains_key(*id))
            .cloned()
            .collect();
        Ok(Telling {
            inventory: Inventory {
                whole: self.is_due,
                entries,
                gone,
            },
            known,
        })
    }

    /// It arrived; `whole`: the gateway wants all of it next.
    pub fn take(&mut self, telling: Telling, whole: bool) {
        self.known = telling.known;
        self.is_due = whole;
    }
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
