//! Ada and Bob, each behind a router, a server between them.

use std::path::PathBuf;
use std::sync::OnceLock;

use voicemesh_tests::nets::{
    Ended, Home, Host, ImpairedLink, Internet, Joining, Nat, SERVER, SERVER_V6, Speaker,
    continuous_speech, servers,
};
use voicemesh_tests::process::Program;
use voicemesh_tests::room::Folder;
use voicemesh_tests::wav;

/// Long enough that no two moments of a call are alike.
const SPEECH_SECONDS: usize = 60;

/// Two homes and a server; see [`TwoHomes::new`]. Programs end before the network they run in:
/// fields are dropped in order.
pub struct TwoHomes {
    /// The signaling server, coturn and others.
    pub programs: Vec<Program>,
    /// Ada's way to the internet, if it is impaired.
    pub uplink: Option<ImpairedLink>,
    /// Further machines.
    pub others: Vec<Host>,
    /// 192.168.1.2.
    pub ada: Host,
    /// 192.168.2.2.
    pub bob: Host,
    /// 192.168.1.0/24, behind 203.0.113.11.
    pub ada_home: Home,
    /// 192.168.2.0/24, behind 203.0.113.12.
    pub bob_home: Home,
    /// What is between them.
    pub internet: Internet,
    /// Identities and recordings.
    pub folder: Folder,
    /// The server's address as Ada and as Bob give it.
    pub urls: [String; 2],
}

impl TwoHomes {
    /// Both homes; no server yet. None where labs cannot be made.
    pub fn new(test: &str, nats: (Nat, Nat)) -> Option<Self> {
        Self::with_uplink(test, nats, None)
    }

    /// The same; with a seed, Ada's way to the internet is an impaired link.
    pub fn with_uplink(test: &str, nats: (Nat, Nat), seed: Option<u64>) -> Option<Self> {
        let internet = Internet::new(test)?;
        let (ada_home, uplink) = match seed {
            Some(seed) => {
                let (home, link) = internet.home_with_uplink(1, nats.0, seed);
                (home, Some(link))
            }
            None => (internet.home(1, nats.0), None),
        };
        let bob_home = internet.home(2, nats.1);
        let (ada, bob) = (ada_home.host("ada", 2), bob_home.host("bob", 2));
        let folder = Folder::create("nets");
        let (programs, others) = (Vec::new(), Vec::new());
        let urls = [server_url(), server_url()];
        Some(Self {
            programs,
            uplink,
            others,
            ada,
            bob,
            ada_home,
            bob_home,
            internet,
            folder,
            urls,
        })
    }

    /// Starts coturn and the signaling server.
    pub fn serve(&mut self, arguments: &[String]) {
        self.programs.push(servers::coturn(self.internet.server(), &self.folder));
        self.programs.push(servers::signaling(self.internet.server(), arguments));
    }

    /// Packets above 1200 bytes vanish in Ada's router without a notice: all, or those that match
    /// `only`, in nftables' words.
    pub fn lose_long_packets(&self, only: &str) {
        let rules = format!(
            "table ip hole {{\n chain forward {{\n  type filter hook forward priority -5;\n  {only}ip length > 1200 drop\n }}\n}}\n"
        );
        self.ada_home.set_nat_and(Nat::PortRestricted, &rules);
    }

    /// Both join, speak for this long after the later of both has joined, and leave.
    pub fn call(&mut self, seconds: f64, arguments: &[&str]) -> (Ended, Ended) {
        let (ada, mut bob) = self.join(arguments);
        bob.go_on_for(seconds);
        (ada.leave(), bob.leave())
    }

    /// Both join and speak; returns when both are connected.
    pub fn join(&self, arguments: &[&str]) -> (Speaker, Speaker) {
        let joining = |url, seed| Joining::new(url, "lab", Some(speech(seed))).with(arguments);
        let mut ada = Speaker::join(&self.ada, "ada", &self.folder, &joining(&self.urls[0], 1));
        let mut bob = Speaker::join(&self.bob, "bob", &self.folder, &joining(&self.urls[1], 2));
        ada.wait_for("connected");
        bob.wait_for("connected");
        (ada, bob)
    }
}

/// The signaling server's address on IPv4.
pub fn server_url() -> String {
    format!("ws://{SERVER}:{}", servers::PORT)
}

/// The same on IPv6.
pub fn server_url_v6() -> String {
    format!("ws://[{SERVER_V6}]:{}", servers::PORT)
}

/// A file of continuous speech; one for each seed and test run.
pub fn speech(seed: u64) -> PathBuf {
    const SEEDS: usize = 4;
    static FILES: [OnceLock<PathBuf>; SEEDS] = [const { OnceLock::new() }; SEEDS];
    static FOLDER: OnceLock<Folder> = OnceLock::new();
    let write = || {
        let folder = FOLDER.get_or_init(|| Folder::create("speech"));
        let file = folder.file(&format!("speech-{seed}.wav"));
        wav::write(&file, &continuous_speech(seed, SPEECH_SECONDS))
            .unwrap_or_else(|error| panic!("{error}"));
        file
    };
    FILES[seed as usize % SEEDS].get_or_init(write).clone()
}
