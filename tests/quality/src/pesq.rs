//! PESQ by an outside program, since there is none in Rust: `scripts/pesq.sh` over a folder of
//! pairs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::wav;

/// Pairs of recordings to be scored together.
#[derive(Debug)]
pub struct Pairs {
    folder: PathBuf,
    count: usize,
}

impl Pairs {
    /// No pairs yet, in a folder of their own.
    ///
    /// # Errors
    /// A sentence, if the folder cannot be made.
    pub fn new(name: &str) -> Result<Self, String> {
        let folder =
            std::env::temp_dir().join(format!("voicemesh-pesq-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { folder, count: 0 })
    }

    /// Adds a pair; gives the number under which its score is found.
    ///
    /// # Errors
    /// A sentence, if it cannot be written.
    pub fn add(&mut self, spoken: &[f32], heard: &[f32]) -> Result<usize, String> {
        let number = self.count;
        wav::write(&self.folder.join(format!("{number}.ref.wav")), spoken)?;
        wav::write(&self.folder.join(format!("{number}.deg.wav")), heard)?;
        self.count += 1;
        Ok(number)
    }

    /// The score of every pair: 1 (bad) to 4.64 (the same).
    ///
    /// # Errors
    /// A sentence, if the program cannot be made or run.
    pub fn score(&self) -> Result<BTreeMap<usize, f64>, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/pesq.sh");
        let output = Command::new(&script)
            .arg(&self.folder)
            .output()
            .map_err(|error| format!("{}: {error}", script.display()))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let line = |line: &str| {
            let (name, score) = line.split_once(' ')?;
            Some((name.parse().ok()?, score.parse().ok()?))
        };
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(line).collect())
    }
}

impl Drop for Pairs {
    fn drop(&mut self) {
        // What is left over costs space in a temporary folder and nothing else.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
