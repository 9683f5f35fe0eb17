//! The machine, and what its kernel counts of a process.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{SysconfVar, sysconf};
use serde_json::{Value, json};
use voicemesh_tests::process::binary;

/// Files and sockets that the largest benchmark needs in one process, with room to spare.
const MANY_FILES: u64 = 16_384;
/// Above this, something else works on the machine as well.
const QUIET_LOAD: f64 = 0.5;

/// What the figures depend on.
pub struct Machine {
    cores: usize,
    model: String,
    kernel: String,
    load: f64,
    versions: Vec<String>,
}

/// This machine, now.
pub fn describe() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok());
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        model: model.map_or("unknown processor", |(_, model)| model.trim()).to_owned(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        load: load.unwrap_or(0.0),
        versions: vec![
            version(Command::new(binary("voicemesh"))),
            version(Command::new(binary("voicemesh-signaling"))),
            version(Command::new("rustc")),
        ],
    }
}

fn version(mut command: Command) -> String {
    let output = command.arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

impl Machine {
    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "cores": self.cores, "model": self.model, "kernel": self.kernel, "load_at_start": self.load,
            "versions": self.versions,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.versions.join("; "))?;
        write!(
            f,
            "{} cores, {}, Linux {}, load at start {:.2}",
            self.cores, self.model, self.kernel, self.load
        )?;
        if self.load > QUIET_LOAD {
            write!(
                f,
                "\nWARNING: something else works on this machine; these figures are worse than on a quiet one."
            )?;
        }
        Ok(())
    }
}

/// Allows this process, and those that it starts, as many files as the largest benchmark needs, or
/// as the system lets.
pub fn allow_many_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = MANY_FILES.min(hard).max(soft);
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map(|()| wanted)
    });
    match raised {
        Ok(files) if files >= MANY_FILES => {}
        Ok(files) => {
            eprintln!("The system allows only {files} open files: the largest benchmarks may fail.")
        }
        Err(error) => eprintln!("The limit of open files cannot be raised: {error}"),
    }
}

/// CPU time that a process has used, all threads, user and system. The kernel tells it in steps of
/// 10 ms.
///
/// # Panics
/// If there is no such process.
pub fn cpu_time(process: u32) -> Duration {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    // The name, in parentheses, may contain anything; utime and stime are the 12th and 13th of what
    // follows it.
    let after_name = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

/// CPU time that this thread has used, to the nanosecond.
///
/// # Panics
/// If the kernel does not tell.
pub fn thread_cpu_time() -> Duration {
    let path = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_else(|| panic!("{path}: {text}")))
}

/// Memory of a process that is resident, in KiB.
///
/// # Panics
/// If there is no such process.
pub fn resident_kib(process: u32) -> u64 {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    kib.unwrap_or_else(|| panic!("{path} names no VmRSS"))
}
