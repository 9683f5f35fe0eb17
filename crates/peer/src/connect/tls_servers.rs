//! Which servers of private networks have spoken TLS before. They are never connected to without it
//! unless the address says so; otherwise an attacker on the same network could take their place by
//! not speaking TLS.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const FILE: &str = "tls-servers";
/// The most servers remembered. When there are more, the oldest is forgotten.
const MAX_SERVERS: usize = 1024;
/// A longer file is not ours.
const MAX_BYTES: u64 = 256 * 1024;

/// A file with one `host:port` a line, the newest last.
#[derive(Clone, Debug)]
pub(super) struct TlsServers {
    folder: Option<PathBuf>,
}

impl TlsServers {
    /// Without a folder nothing is remembered.
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// Whether this server has spoken TLS before; `None` if that cannot be known.
    pub(super) fn spoke_tls(&self, server: &str) -> Option<bool> {
        let folder = self.folder.as_deref()?;
        match read(folder) {
            Ok(servers) => Some(servers.iter().any(|known| known == server)),
            Err(error) => {
                tracing::debug!(%error, "the list of servers that speak TLS cannot be read");
                None
            }
        }
    }

    /// Remembers that this server speaks TLS.
    pub(super) fn remember(&self, server: &str) {
        let Some(folder) = self.folder.as_deref() else { return };
        if let Err(error) = add(folder, server) {
            tracing::debug!(%error, "the list of servers that speak TLS cannot be kept");
        }
    }
}

fn read(folder: &Path) -> io::Result<Vec<String>> {
    let path = folder.join(FILE);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
        Ok(file) if file.len() > MAX_BYTES => return Err(io::Error::other("it is too long")),
        Ok(_) => {}
    }
    Ok(fs::read_to_string(path)?.lines().map(str::to_owned).collect())
}

/// Written anew beside the old file and renamed, so that another process never reads half a list.
/// Of two processes that write at once, one may lose its entry; it writes it again with its next
/// connection.
fn add(folder: &Path, server: &str) -> io::Result<()> {
    let mut servers = read(folder)?;
    if servers.iter().any(|known| known == server) {
        return Ok(());
    }
    servers.push(server.to_owned());
    let surplus = servers.len().saturating_sub(MAX_SERVERS);
    fs::create_dir_all(folder)?;
    let new = folder.join(format!("{FILE}.{}.new", std::process::id()));
    let mut file = fs::File::create(&new)?;
    for server in &servers[surplus..] {
        writeln!(file, "{server}")?;
    }
    drop(file);
    fs::rename(new, folder.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir()
            .join(format!("voicemesh-tls-servers-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_server_is_remembered_by_the_next_process() {
        let folder = folder("kept");
        let servers = || TlsServers::new(Some(folder.clone()));
        assert_eq!(servers().spoke_tls("192.168.1.5:8080"), Some(false));
        servers().remember("192.168.1.5:8080");
        servers().remember("192.168.1.5:8080");
        assert_eq!(servers().spoke_tls("192.168.1.5:8080"), Some(true));
        assert_eq!(servers().spoke_tls("192.168.1.5:8081"), Some(false));
        assert_eq!(fs::read_to_string(folder.join(FILE)).expect("a list").lines().count(), 1);
        fs::remove_dir_all(folder).expect("the folder");
    }

    #[test]
    fn only_so_many_are_kept_and_the_newest_stay() {
        let folder = folder("many");
        fs::create_dir_all(&folder).expect("a folder");
        let lines: String = (0..MAX_SERVERS).map(|port| format!("10.0.0.1:{port}\n")).collect();
        fs::write(folder.join(FILE), lines).expect("a list");
        let servers = TlsServers::new(Some(folder.clone()));
        servers.remember("10.0.0.2:1");
        assert_eq!(servers.spoke_tls("10.0.0.2:1"), Some(true));
        assert_eq!(servers.spoke_tls("10.0.0.1:0"), Some(false));
        assert_eq!(servers.spoke_tls("10.0.0.1:1"), Some(true));
        fs::remove_dir_all(folder).expect("the folder");
    }

    #[test]
    fn without_a_folder_or_with_an_unreadable_one_nothing_is_known() {
        assert_eq!(TlsServers::new(None).spoke_tls("10.0.0.1:1"), None);
        let folder = folder("odd");
        fs::create_dir_all(folder.join(FILE)).expect("a folder in place of the file");
        assert_eq!(TlsServers::new(Some(folder.clone())).spoke_tls("10.0.0.1:1"), None);
        fs::remove_dir_all(folder).expect("the folder");
    }
}
