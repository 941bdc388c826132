//! Names of things: a prefix that says what it is, then random hexadecimal digits.

/// `mch_` and 20 digits. Short enough to be a host name too.
pub fn machine() -> String {
    make("mch")
}

/// `snap_` and 20 digits.
pub fn snapshot() -> String {
    make("snap")
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

/// `vol_` and 20 digits.
pub fn volume() -> String {
    make("vol")
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
    let digits = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}_{}", &digits[..20])
}
