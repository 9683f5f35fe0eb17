//! What the end-to-end tests, `make demo` and the benchmarks stand on.
//!
//! - [`hear`](mod@hear), [`speech`], [`wav`]: what was spoken and what was heard, from
//!   `tests/quality`.
//! - [`process`]: our own programs as child processes, their JSON lines as events to wait for.
//! - [`netns`]: hosts in network namespaces, behind a router that can lose what it should pass on.
//! - [`nets`]: an internet of namespaces: homes behind NAT, STUN and TURN, IPv6, an impaired link;
//!   what a call sounds like there.
//! - [`pulse`]: a sound server for a test with a virtual microphone and a virtual speaker.
//! - [`room`]: a server and peers as people start them.
//! - [`tmux`]: a terminal for a test, in tmux.
//! - [`ssh`]: a line over ssh to this machine, for a program in such a terminal.
//! - [`skip`]: what to do where the machine lacks root or a program.
//!
//! Nothing here waits for a fixed time: it waits for a line, a number of samples or the end of a
//! process, up to a limit.

#[cfg(target_os = "linux")]
pub mod netns;
#[cfg(target_os = "linux")]
pub mod nets;
pub mod process;
#[cfg(target_os = "linux")]
pub mod pulse;
pub mod room;
pub mod skip;
#[cfg(unix)]
pub mod ssh;
#[cfg(unix)]
pub mod tmux;

pub use voicemesh_quality::{hear, speech, wav};

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// So does the guide for games.
#[cfg(doctest)]
#[doc = include_str!("../../docs/game.md")]
struct GameGuide;
