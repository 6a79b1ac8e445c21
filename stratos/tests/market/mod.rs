//! A market: one ledger, gateways of several operators with metadata of their
//! own, and nodes that all of them share, as processes.

pub mod books;
pub mod hostile;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use ledger::{LedgerAddr, LedgerClient};
use protocol::SecretKey;

use crate::process::{Gateway, Role, free_tcp, free_udp};

/// Short: a test sees many of them.
pub const EPOCH_SECONDS: u64 = 4;

/// The processes.
pub struct Market {
    pub ledger: Role,
    pub ledger_addr: SocketAddr,
    pub gateways: Vec<Gateway>,
    pub nodes: Vec<Role>,
    folder: std::path::PathBuf,
}

impl Market {
    /// Writes the files, with this besides in each gateway's and in the ledger's.
    /// The keys come first: the roles know each other by their public halves.
    pub fn new(
        folder: &Path,
        gateways: usize,
        nodes: usize,
        of_gateway: &str,
        of_ledger: &str,
    ) -> Self {
        let ledger_addr = free_udp();
        let ledger = Role::new(folder, "ledger", "ledger", "", &[]);
        let known = format!("[ledger]\nid = {:?}\naddr = \"{ledger_addr}\"", ledger.id());
        let gateways: Vec<Gateway> = (0..gateways)
            .map(|n| {
                let s3 = free_tcp();
                let text = format!(
                    "listen = \"{s3}\"\nadmin_listen = \"127.0.0.1:0\"\n{of_gateway}\n{known}"
                );
                Gateway(Role::new(folder, "gateway", &format!("gateway-{n}"), &text, &[]))
            })
            .collect();
        let ids: Vec<String> = gateways.iter().map(|gateway| gateway.0.id()).collect();
        ledger.write(&format!(
            "listen = \"{ledger_addr}\"\ngateways = {ids:?}\nepoch_seconds = {EPOCH_SECONDS}\n\
             opening_balance_credits = 1000\n{of_ledger}",
        ));
        let nodes = (0..nodes).map(|n| {
            let listen = free_udp();
            let settings = format!(
                "listen = \"{listen}\"\nreserve_bytes = 0\nzone = \"z{n}\"\noperator = \"o{n}\"\n\
                 {known}"
            );
            let invite = folder.join(format!("invite-{n}")).display().to_string();
            let flags = ["--invite-file".to_owned(), invite];
            Role::new(folder, "node", &format!("node-{n}"), &settings, &flags)
        });
        let nodes = nodes.collect();
        Self { ledger, ledger_addr, gateways, nodes, folder: folder.to_owned() }
    }

    /// Starts all of them, and waits until every gateway sees every node.
    pub async fn start(&mut self) {
        self.ledger.start();
        for gateway in &mut self.gateways {
            gateway.0.start();
        }
        for n in 0..self.nodes.len() {
            // Each operator of a gateway invites some of the nodes.
            let gateway = &self.gateways[n % self.gateways.len()];
            gateway.endpoint().await;
            let file = self.folder.join(format!("invite-{n}"));
            fs::write(file, gateway.invite()).expect("written");
            self.nodes[n].start();
        }
        for gateway in &self.gateways {
            gateway.await_nodes(&mut self.nodes).await;
        }
    }

    /// A gateway's key, as its operator has it.
    pub fn gateway_key(&self, n: usize) -> SecretKey {
        SecretKey::load(&self.gateways[n].0.dir().join("gateway.key")).expect("a key")
    }

    /// A node's key, as its owner has it.
    pub fn node_key(&self, n: usize) -> SecretKey {
        SecretKey::load(&self.nodes[n].dir().join("node.key")).expect("a key")
    }

    /// A connection to the ledger with someone's key.
    pub fn ledger_client(&self, key: SecretKey) -> LedgerClient {
        let id = self.ledger.id().parse().expect("an id");
        LedgerClient::new(key, LedgerAddr { id, addr: self.ledger_addr })
    }
}
