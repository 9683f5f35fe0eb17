//! Makes `src` ready to be carried by a server's binary: scripts and styles without comments,
//! everything compressed, and a list of all files, which the library includes.

use std::fmt::Write;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};

/// The one file that is a page; the others are its assets.
const INDEX: &str = "index.html";
/// What the index writes in front of the name of every asset.
const ASSETS: &str = "{{assets}}";
/// How many steps up from the address of a page to the lobby: `/`, `/r/ROOM`, `/r/ROOM/`.
const UP: [&str; 3] = ["", "../", "../../"];
/// Hexadecimal digits of a version: enough that no two versions that are kept are alike.
const VERSION_DIGITS: usize = 16;
/// Brotli's best. The window, 2 to this many bytes, is larger than any file.
const BROTLI: (u32, u32) = (11, 18);

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = here.join("src");
    // Cargo looks at everything in the folder, so that a file that comes or goes builds anew as
    // well.
    println!("cargo::rerun-if-changed={}", folder.display());
    if !folder.join(INDEX).is_file() {
        println!("cargo::error=the page is missing: there is no {}", folder.join(INDEX).display());
        return Ok(());
    }
    let mut names = Vec::new();
    collect(&folder, "", &mut names)?;
    // Names are looked up by halving, and the version must not depend on the order in which a file
    // system lists them.
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let contents = without_comments(&name, fs::read(folder.join(&name))?)?;
        files.push((name, contents));
    }
    let version = version(&files);
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default()).join("page");
    let mut list = String::from("&[\n");
    let mut index = String::from("[\n");
    fs::create_dir_all(&out)?;
    // Writing to a String does not fail.
    for (name, contents) in &files {
        if name == INDEX {
            for up in UP {
                let page = String::from_utf8_lossy(contents)
                    .replace(ASSETS, &format!("{up}assets/{version}"));
                let _ = writeln!(
                    index,
                    "    {},",
                    stored(&out.join(up.replace('.', "_")).join(name), page.as_bytes())?
                );
            }
        } else {
            let _ = writeln!(list, "    ({name:?}, {}),", stored(&out.join(name), contents)?);
        }
    }
    let _ = writeln!(list, "]");
    let _ = writeln!(index, "]");
    fs::write(out.join("version.txt"), version)?;
    fs::write(out.join("index.rs"), index)?;
    fs::write(out.join("assets.rs"), list)
}

/// Writes a file and its compressed forms, and returns the expression that includes them. A form
/// that is not smaller is left out.
fn stored(path: &Path, contents: &[u8]) -> io::Result<String> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, contents)?;
    let mut stored = format!("Stored {{ plain: include_bytes!({path:?})");
    for (form, compressed) in [("brotli", brotli(contents)?), ("gzip", gzip(contents)?)] {
        let mut path = path.as_os_str().to_owned();
        path.push(".");
        path.push(form);
        let path = PathBuf::from(path);
        if compressed.len() < contents.len() {
            fs::write(&path, compressed)?;
            let _ = write!(stored, ", {form}: Some(include_bytes!({path:?}))");
        } else {
            let _ = write!(stored, ", {form}: None");
        }
    }
    stored.push_str(" }");
    Ok(stored)
}

fn brotli(contents: &[u8]) -> io::Result<Vec<u8>> {
    let (quality, window) = BROTLI;
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, quality, window);
    writer.write_all(contents)?;
    Ok(writer.into_inner())
}

/// Without a time in it, so that the same files make the same binary.
fn gzip(contents: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = GzBuilder::new().write(Vec::new(), Compression::best());
    writer.write_all(contents)?;
    writer.finish()
}

/// The same in fewer bytes.
fn without_comments(name: &str, contents: Vec<u8>) -> io::Result<Vec<u8>> {
    let text = |contents| {
        String::from_utf8(contents).map_err(|error| io::Error::other(format!("{name}: {error}")))
    };
    Ok(match name.rsplit_once('.') {
        Some((_, "js")) => minifier::js::minify(&text(contents)?).to_string().into_bytes(),
        Some((_, "css")) => {
            let style = text(contents)?;
            let style = minifier::css::minify(&style)
                .map_err(|error| io::Error::other(format!("{name}: {error}")))?;
            style.to_string().into_bytes()
        }
        _ => contents,
    })
}

/// Changes when any file does. Names and lengths count as well, so that no two sets of files run
/// together into the same bytes.
fn version(files: &[(String, Vec<u8>)]) -> String {
    let mut hash = Sha256::new();
    for (name, contents) in files {
        for part in [name.as_bytes(), contents] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let mut digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(VERSION_DIGITS);
    digits
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
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}
