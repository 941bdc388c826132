//! Names of things: a prefix that says what it is, then random hexadecimal digits.

/// Digits after the prefix. Short enough to be a host name too.
const DIGITS: usize = 20;

/// Makes the ids by which a request finds its way to a node of a cluster: the first digits are the node's tag. An engine of
/// its own has none.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    tag: String,
}

impl Ids {
    /// Of a node with this tag.
    pub fn tagged(tag: &str) -> Self {
        Self { tag: tag.to_owned() }
    }

    /// `mch_` and 20 digits.
    pub fn machine(&self) -> String {
        self.make("mch")
    }

    /// `snap_` and 20 digits.
    pub fn snapshot(&self) -> String {
        self.make("snap")
    }

    /// `vol_` and 20 digits.
    pub fn volume(&self) -> String {
        self.make("vol")
    }

    fn make(&self, prefix: &str) -> String {
        let random = uuid::Uuid::new_v4().simple().to_string();
        format!("{prefix}_{}{}", self.tag, &random[..DIGITS - self.tag.len()])
    }
}

/// `layer_` and 20 digits. Never shown.
pub fn layer() -> String {
    make("layer")
}

/// `twp_` and 20 digits.
pub fn pool() -> String {
    make("twp")
}

/// `tmpl_` and 20 digits.
pub fn template() -> String {
    make("tmpl")
}

/// `tb_` and 20 digits.
pub fn build() -> String {
    make("tb")
}

/// `vat_` and 20 digits.
pub fn attachment() -> String {
    make("vat")
}

/// `pty_` and 20 digits.
pub fn terminal() -> String {
    make("pty")
}

/// `ctx_` and 20 digits.
pub fn context() -> String {
    make("ctx")
}

/// `run_` and 20 digits.
pub fn run() -> String {
    make("run")
}

/// `pvg_` and 20 digits.
pub fn grant() -> String {
    make("pvg")
}

/// A UUID, as events carry.
pub fn event() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A name that cannot be guessed: 244 random bits in hexadecimal digits after a prefix. For keys and tokens.
pub fn secret(prefix: &str) -> String {
    let (a, b) = (uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    format!("{prefix}_{a}{b}")
}

fn make(prefix: &str) -> String {
    Ids::default().make(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_node_begin_with_its_tag_and_are_as_long_as_others() {
        let (own, tagged) = (Ids::default().machine(), Ids::tagged("0a1f").machine());
        assert!(tagged.starts_with("mch_0a1f"), "{tagged}");
        assert_eq!(own.len(), tagged.len());
        assert_eq!(own.len(), "mch_".len() + DIGITS);
    }
}
