//! Puts the npm package together: `pkg-template/` and what was built.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use base64::Engine as _;
use flate2::write::DeflateEncoder;
use flate2::Compression;

use crate::wasm::{Built, MODULE};
use crate::{declarations, decoders, errors, options};

/// Replaces `out` with the package. It is put together beside it first: an interrupted build leaves the old one.
pub fn assemble(root: &Path, out: &Path, built: &Built, decoders: &decoders::Files) -> Result<()> {
    ensure!(
        !out.exists() || out.join("package.json").is_file(),
        "{} is no package: not replacing it",
        out.display()
    );
    let stage = out.with_extension("new");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fill(root, &stage, built, decoders)?;
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    Ok(fs::rename(stage, out)?)
}

fn fill(root: &Path, out: &Path, built: &Built, decoders: &decoders::Files) -> Result<()> {
    copy(&root.join("pkg-template"), out)?;
    fs::copy(root.join("LICENSE"), out.join("LICENSE"))?;
    let lib = out.join("lib");
    fs::write(out.join(MODULE), &built.wasm)?;
    fs::write(lib.join("glue.js"), &built.glue)?;
    fs::write(lib.join("decoders.js"), &decoders.first)?;
    fs::write(lib.join("more-decoders.js"), &decoders.more)?;
    fs::write(lib.join("error-classes.js"), errors::generate())?;
    fs::write(lib.join("error-names.js"), errors::names()?)?;
    fs::write(lib.join("client-options.js"), options::of_clients()?)?;
    fs::write(out.join("index.d.ts"), declarations::renewed(root)?)?;
    let (esm, cjs) = inline(&built.wasm)?;
    fs::write(lib.join("inline-data.js"), esm)?;
    fs::write(lib.join("inline-data.cjs"), cjs)?;
    // The same text: TypeScript reads `.d.cts` for require().
    for name in ["index", "testing", "testing-setup", MODULE] {
        fs::copy(
            out.join(format!("{name}.d.ts")),
            out.join(format!("{name}.d.cts")),
        )?;
    }
    // What a container with an engine in it is allowed to ask of the kernel.
    fs::copy(root.join("deploy/docker/seccomp.json"), out.join("seccomp.json"))?;
    bundle_cli(root, out)?;
    bundle_for_node(root, out, "testing")?;
    bundle_for_node(root, out, "node")?;
    let names = exports(&out.join("require.cjs"))?;
    fs::write(
        out.join("node.mjs"),
        format!("// One instance for import and require(): the classes are those of node.cjs.\nimport sdk from './require.cjs';\n\nexport const {{ {names} }} = sdk;\n"),
    )?;
    Ok(())
}

/// Names of what a CommonJS module exports: only Node knows.
fn exports(module: &Path) -> Result<String> {
    let script = "process.stdout.write(Object.keys(require(process.argv[1])).join(', '))";
    let told = Command::new("node").args(["-e", script]).arg(module).output()?;
    ensure!(
        told.status.success(),
        "{}: {}",
        module.display(),
        String::from_utf8_lossy(&told.stderr)
    );
    Ok(String::from_utf8(told.stdout)?)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The module as text, for bundlers and pages that cannot be made to serve a file: deflated, as browsers can
/// unpack that, then base64. Once as an ES module, once for require().
fn inline(wasm: &[u8]) -> Result<(String, String)> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(wasm)?;
    let text = base64::engine::general_purpose::STANDARD.encode(encoder.finish()?);
    let note = format!("// Generated: {MODULE}, deflated (raw), base64.\n");
    Ok((
        format!(
            "{note}export const size = {};\nexport default '{text}';\n",
            wasm.len()
        ),
        format!("{note}exports.default = '{text}';\n"),
    ))
}

/// `cli.mjs`: the command line with what it needs, but for the package itself, which lies beside it. What is large and
/// seldom wanted is a file of its own.
fn bundle_cli(root: &Path, out: &Path) -> Result<()> {
    for (source, name) in [("main.mjs", "cli.mjs"), ("mcp-server.mjs", "mcp-server.mjs")] {
        let file = out.join(name);
        let status = Command::new(root.join("node_modules/.bin/esbuild"))
            .arg(root.join("cli").join(source))
            .args(["--bundle", "--format=esm", "--platform=node", "--target=node20"])
            .args(["--external:nullspace", "--external:./mcp-server.mjs"])
            // Some of what is bundled is CommonJS.
            .arg("--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);")
            .args(["--minify-syntax", "--minify-whitespace", "--log-level=warning", "--legal-comments=none"])
            .arg(format!("--outfile={}", file.display()))
            .status()
            .context("esbuild; run `npm ci` first")?;
        ensure!(status.success(), "esbuild failed ({status})");
        let bundled = fs::read_to_string(&file)?;
        let own = bundled.replace("from\"nullspace\"", "from\"./node.mjs\"");
        ensure!(own != bundled, "{name} does not import the package");
        fs::write(&file, own)?;
    }
    #[cfg(unix)]
    fs::set_permissions(
        out.join("cli.mjs"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    Ok(())
}

/// `node.cjs` of `node.js`: one file for require() and, through `node.mjs`, for import, so that both share their classes. The
/// same for `testing`.
fn bundle_for_node(root: &Path, out: &Path, name: &str) -> Result<()> {
    let entry = out.join(format!("{name}.js"));
    let status = Command::new(root.join("node_modules/.bin/esbuild"))
        .arg(&entry)
        .args([
            "--bundle",
            "--format=cjs",
            "--platform=node",
            "--target=node20",
            "--sourcemap",
            "--log-level=warning",
        ])
        .args(["--external:./lib/inline-data.cjs", "--external:ws"])
        .args(["--legal-comments=none"])
        .arg(format!("--outfile={}", out.join(format!("{name}.cjs")).display()))
        .status()
        .context("esbuild; run `npm ci` first")?;
    ensure!(status.success(), "esbuild failed ({status})");
    fs::remove_file(entry)?;
    Ok(())
}
