//! The header is what the code says, and compiles as everything that includes it.

use std::path::{Path, PathBuf};
use std::process::Command;

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn written() -> String {
    let config =
        cbindgen::Config::from_file(own("cbindgen.toml")).unwrap_or_else(|error| panic!("{error}"));
    let mut builder = cbindgen::Builder::new().with_config(config);
    // In the order in which a reader wants them. The sources one by one: nothing of other crates is
    // looked at.
    for source in [
        "values",
        "guard",
        "options",
        "event",
        "room",
        "data",
        "lobby",
        "moderation",
        "spatial",
        "transmission",
        "pcm",
        "state",
        "devices",
        "network",
        "over",
    ] {
        builder = builder.with_src(own(&format!("src/{source}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().unwrap_or_else(|error| panic!("{error}")).write(&mut text);
    String::from_utf8(text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_header_is_what_the_code_says() {
    let path = own("include/voicemesh.h");
    let written = written();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &written)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == written,
        "include/voicemesh.h is old: UPDATE=1 cargo test -p voicemesh-capi --test header"
    );
}

#[test]
fn every_function_is_in_the_header_and_says_how_it_fails() {
    let header = written();
    let sources = std::fs::read_dir(own("src")).unwrap_or_else(|error| panic!("{error}"));
    let mut functions = 0;
    for source in sources {
        let path = source.unwrap_or_else(|error| panic!("{error}")).path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}"));
        for (at, _) in text.match_indices("#[unsafe(no_mangle)]") {
            let (_, rest) = text[at..].split_once(" fn ").unwrap_or_default();
            let name = rest.split('(').next().unwrap_or_default();
            assert!(
                header.contains(&format!("{name}(")),
                "{name} of {} is not in the header",
                path.display()
            );
            functions += 1;
        }
    }
    assert!(functions > 20, "the functions were not found");
}

#[test]
fn the_header_compiles_as_c_and_as_cpp() {
    let compilers = [("cc", "c", "c99"), ("cc", "c", "c11"), ("c++", "c++", "c++17")];
    for (compiler, language, standard) in compilers {
        let mut command = Command::new(compiler);
        command.args([
            "-x",
            language,
            &format!("-std={standard}"),
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
        ]);
        command.arg("-fsyntax-only").arg(own("include/voicemesh.h"));
        let output = match command.output() {
            Ok(output) => output,
            Err(error) if std::env::var("CI").is_ok_and(|value| value == "true") => {
                panic!("{compiler}: {error}")
            }
            Err(error) => {
                eprintln!("SKIPPED the_header_compiles_as_c_and_as_cpp: {compiler}: {error}");
                return;
            }
        };
        assert!(output.status.success(), "{standard}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
