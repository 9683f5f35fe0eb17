//! The C library as a developer has it: installed below a prefix, found by pkg-config.

use std::path::{Path, PathBuf};
use std::process::Command;

use voicemesh_tests::process::binary;
use voicemesh_tests::room::Folder;

/// An installation of the library that was built beside the tests.
pub struct Prefix {
    folder: Folder,
}

impl Prefix {
    pub fn install() -> Self {
        let folder = Folder::create("prefix");
        // Libraries lie where programs do.
        let built = binary("voicemesh").parent().expect("a folder").to_owned();
        let script = root().join("scripts/install-capi.sh");
        run(Command::new(script).arg(folder.file("usr")).env("BUILT", built));
        Self { folder }
    }

    /// The folder with the shared library, for the loader.
    pub fn libraries(&self) -> PathBuf {
        self.folder.file("usr/lib")
    }

    /// Compiles a C program by nothing but what pkg-config says.
    pub fn compile(&self, source: &str, name: &str, is_static: bool) -> PathBuf {
        let program = self.folder.file(name);
        let mut asked = Command::new("pkg-config");
        asked
            .args(["--cflags", "--libs", "voicemesh"])
            .env("PKG_CONFIG_PATH", self.libraries().join("pkgconfig"));
        if is_static {
            asked.arg("--static");
            // With both kinds side by side the linker takes the shared one.
            for shared in ["libvoicemesh.so", "libvoicemesh.dylib"] {
                let _ = std::fs::remove_file(self.libraries().join(shared));
            }
        }
        let flags = run(&mut asked);
        let mut compiler = Command::new("cc");
        compiler
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g", "-pthread"])
            .arg(root().join(source));
        run(compiler.args(flags.split_whitespace()).arg("-o").arg(&program));
        program
    }

    /// Somewhere to put things.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    /// Lets a program find the shared library.
    pub fn lend(&self, command: &mut Command) {
        let variable =
            if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
        command.env(variable, self.libraries());
    }
}

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a command to its end and gives its output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out
}
