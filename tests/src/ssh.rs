//! A connection to this machine over ssh, for a test: a real sshd on loopback with new keys.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::Program;
use crate::room::{Folder, PATIENCE};
use crate::skip;

/// An ssh server for the user who runs the test; ended when dropped.
pub struct Ssh {
    port: u16,
    folder: Folder,
    _daemon: Program,
}

impl Ssh {
    /// None (said loudly) where OpenSSH is not installed.
    ///
    /// # Panics
    /// If the server does not start, or with `CI=true` where OpenSSH is not installed.
    #[must_use]
    pub fn start(test: &str) -> Option<Self> {
        if !skip::can_run(test, false, &["sshd", "ssh", "ssh-keygen"]) {
            return None;
        }
        // sshd runs itself again by its path.
        let sshd = skip::find_program("sshd")?;
        let folder = Folder::create("ssh");
        for key in ["host", "user"] {
            make_key(&folder.file(key));
        }
        std::fs::rename(folder.file("user.pub"), folder.file("authorized"))
            .unwrap_or_else(|error| panic!("a key: {error}"));
        // Where it runs as root, sshd wants this folder, which the system makes when it starts one.
        let _ = std::fs::create_dir_all("/run/sshd");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .unwrap_or_else(|error| panic!("a free port: {error}"))
            .port();
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f", "/dev/null"]);
        for option in [
            format!("Port={port}"),
            "ListenAddress=127.0.0.1".to_owned(),
            format!("HostKey={}", folder.file("host").display()),
            format!("AuthorizedKeysFile={}", folder.file("authorized").display()),
            "PidFile=none".to_owned(),
            "PasswordAuthentication=no".to_owned(),
            "PermitRootLogin=yes".to_owned(),
            // The temporary folder may be anyone's.
            "StrictModes=no".to_owned(),
            "UsePAM=no".to_owned(),
            "AcceptEnv=LANG".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        let mut daemon = Program::start("sshd", command);
        daemon.wait_for_line("Server listening on", PATIENCE);
        Some(Self { port, folder, _daemon: daemon })
    }

    /// The same command at the other end of the connection, in another terminal. The variables TERM
    /// and LANG go with it, as usual systems have it.
    #[must_use]
    pub fn over_line(&self, command: &Command) -> Command {
        let mut remote = "exec".to_owned();
        for word in std::iter::once(command.get_program()).chain(command.get_args()) {
            let quoted = word.to_string_lossy().replace('\'', r"'\''");
            let _ = write!(remote, " '{quoted}'");
        }
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "/dev/null", "-tt", "-q", "-p", &self.port.to_string()]);
        ssh.arg("-i").arg(self.folder.file("user"));
        for option in [
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "BatchMode=yes",
            "SendEnv=LANG",
        ] {
            ssh.args(["-o", option]);
        }
        ssh.arg("127.0.0.1").arg(remote);
        ssh
    }
}

fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status();
    assert!(made.as_ref().is_ok_and(std::process::ExitStatus::success), "ssh-keygen: {made:?}");
}
