//! Makes `web/src` ready to be carried by the binary: scripts and styles without what only people read, and a list of all files,
//! which the library includes.

#[path = "src/shell/page/names.rs"]
mod names;
#[path = "src/shell/page/plain.rs"]
mod plain;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = here.with_file_name("web").join("src");
    // Cargo looks at everything in the folder, so that a file that comes or goes builds anew as well.
    println!("cargo::rerun-if-changed={}", folder.display());
    if !folder.join("index.html").is_file() {
        println!("cargo::error=the page is missing: there is no {}", folder.join("index.html").display());
        return Ok(());
    }
    let mut names = Vec::new();
    collect(&folder, "", &mut names)?;
    // Names are looked up by halving, and the version must not depend on the order that a file system tells them in.
    names.sort();
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    let mut list = String::from("&[\n");
    for name in &names {
        let carried = out.join("page").join(name);
        fs::create_dir_all(carried.parent().unwrap_or(&out))?;
        fs::write(&carried, shrunk(name, fs::read(folder.join(name))?)?)?;
        // Writing to a String does not fail.
        let _ = writeln!(list, "    ({name:?}, include_bytes!({carried:?})),");
    }
    list.push_str("]\n");
    fs::write(out.join("page.rs"), list)
}

/// The same in fewer bytes. Names that other files know stay as they are.
fn shrunk(name: &str, contents: Vec<u8>) -> io::Result<Vec<u8>> {
    let text = |contents| String::from_utf8(contents).map_err(|error| io::Error::other(format!("{name}: {error}")));
    Ok(match name.rsplit_once('.') {
        Some((_, "js")) => {
            let script = minifier::js::minify(&text(contents)?).to_string();
            names::shortened(&script).into_bytes()
        }
        Some((_, "css")) => {
            let style = text(contents)?;
            let style = minifier::css::minify(&style).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
            style.to_string().into_bytes()
        }
        _ => contents,
    })
}

/// The files below `folder`, their names relative to the top, with `/` on every system.
fn collect(folder: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let name = format!("{prefix}{file_name}");
        if file_name.starts_with('.') {
            continue;
        }
        if !plain::is_plain(&file_name) {
            println!("cargo::warning=web/src/{name} is left out of the page: such a name cannot be asked for");
        } else if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}
