//! The files of `deploy/` are the defaults, and wrong values are refused with a
//! sentence.

use super::*;
use protocol::price::{Amount, CREDIT};
use std::time::Duration;

const KEY: &str = "abababababababababababababababababababababababababababababababab";

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

/// Compared as tables, so that a key which the file leaves out is seen as well.
#[track_caller]
fn check_deployed<T: Default + Serialize + DeserializeOwned>(name: &str) {
    let table: toml::Table = read(&deployed(name)).expect("a file");
    assert_eq!(table, toml::Table::try_from(T::default()).expect("a table"), "{name}");
    read::<T>(&deployed(name)).expect("every key is known");
}

#[test]
fn the_deployed_files_hold_every_key_with_its_default() {
    check_deployed::<GatewayFile>("gateway.toml");
    check_deployed::<NodeFile>("node.toml");
    check_deployed::<LedgerFile>("ledger.toml");
    check_deployed::<WitnessFile>("witness.toml");
}

#[track_caller]
fn refused<T>(result: Result<T, ConfigError>, want: &str) {
    let Err(error) = result else { panic!("it was taken; wanted: {want}") };
    assert_eq!(error.to_string(), want);
}

fn gateway(text: &str) -> Result<GatewayConfig, ConfigError> {
    let path = Path::new("g.toml");
    let ledger = if text.contains("[ledger]") {
        String::new()
    } else {
        format!("\n[ledger]\nid = \"{KEY}\"\naddr = \"ledger:4400\"\n")
    };
    parse::<GatewayFile>(path, &format!("{text}{ledger}"))?.check(path)
}

#[test]
fn a_gateway_is_configured() {
    let config = gateway(
        "scheme = \"8+4\"\nwrite_quorum = 11\ndomains = [\"s3.example.org\"]\nbuffer_mib = 512",
    )
    .expect("a configuration");
    assert_eq!((config.scheme.needed(), config.scheme.total()), (8, 12));
    assert_eq!(config.write_quorum, 11);
    assert_eq!(config.buffer_bytes, 512 << 20);
    assert_eq!(config.ledger.addr.to_string(), "ledger:4400");
    assert_eq!(config.ledger.id.to_string(), KEY);
    let tls = gateway("tls_cert = \"c\"\ntls_key = \"k\"\ntls_listen = \"0.0.0.0:9443\"");
    let tls = tls.expect("a configuration");
    assert_eq!(tls.tls.expect("files").key, Path::new("k"));
    assert_eq!(tls.tls_listen.expect("a port").port(), 9443);
    assert!(gateway("").is_ok(), "the defaults and a ledger are enough");
}

#[test]
fn a_wrong_gateway_is_refused() {
    let check = |text: &str, want: &str| refused(gateway(text), want);
    check(
        "scheme = \"4-2\"",
        "g.toml: scheme = \"4-2\" is wrong (\"4-2\" is not a scheme, expected DATA+PARITY such as \
         4+2): write DATA+PARITY such as 4+2",
    );
    check(
        "write_quorum = 4",
        "g.toml: write_quorum = 4 is out of range: with scheme 4+2 write 5 to 6",
    );
    check(
        "write_quorum = 7",
        "g.toml: write_quorum = 7 is out of range: with scheme 4+2 write 5 to 6",
    );
    check("scheme = \"3+1\"", "g.toml: write_quorum = 5 is out of range: with scheme 3+1 write 4");
    check(
        "listen = \"localhost:9000\"",
        "g.toml: listen = \"localhost:9000\" is wrong (invalid socket address syntax): \
         write IP:PORT such as 127.0.0.1:9000, or 0.0.0.0:9000 for everyone",
    );
    check(
        "region = \"US East\"",
        "g.toml: region = \"US East\" is not a region: write 1 to 32 of a-z, 0-9 and -, \
         such as us-east-1",
    );
    check(
        "domains = [\"http://s3\"]",
        "g.toml: domains = \"http://s3\" is not a domain: write it in lower case without scheme \
         and port, such as s3.example.org",
    );
    check(
        "website_domains = [\"Web\"]",
        "g.toml: website_domains = \"Web\" is not a domain: write it in lower case without scheme \
         and port, such as s3.example.org",
    );
    for bad in ["app.test", "https://app.test/", "https://*.*.test", "https://a b"] {
        check(
            &format!("cors_origins = [\"{bad}\"]"),
            &format!(
                "g.toml: cors_origins = \"{bad}\" is not an origin: write scheme, host and port \
                 without a slash, such as https://app.example.org, with at most one *"
            ),
        );
    }
    check("tls_key = \"k\"", "g.toml: tls_cert = \"\" is empty, but tls_key is not: write both");
    check("tls_cert = \"c\"", "g.toml: tls_key = \"\" is empty, but tls_cert is not: write both");
    check(
        "tls_listen = \"0.0.0.0:9443\"",
        "g.toml: tls_listen = \"0.0.0.0:9443\" needs a certificate: write tls_cert and tls_key, too",
    );
    check("dir = \"\"", "g.toml: dir = \"\" is empty: name the folder of this role's data");
    check("max_connections = 0", "g.toml: max_connections = 0 is out of range: write 1 to 1000000");
    check("buffer_mib = 1", "g.toml: buffer_mib = 1 is out of range: write 16 to 1048576");
    check(
        "inline_max_bytes = 65537",
        "g.toml: inline_max_bytes = 65537 is out of range: write 0 to 65536",
    );
    check(
        "[ledger]",
        "g.toml: ledger.id = \"\" is empty: write what `stratos ledger -c ledger.toml --print-id` \
         prints",
    );
    check(
        "[ledger]\nid = \"xy\"",
        "g.toml: ledger.id = \"xy\" is wrong (expected 64 hex digits for LedgerId, got \"xy\"): \
         write what `stratos ledger -c ledger.toml --print-id` prints",
    );
}

#[test]
fn what_is_not_the_file_is_refused_with_its_line() {
    let check = |text: &str, line: usize, says: &str| {
        let Err(error) = gateway(text) else { panic!("{text:?} was taken") };
        let error = error.to_string();
        assert!(error.starts_with(&format!("g.toml line {line}: ")), "{error}");
        assert!(error.contains(says), "{error}");
    };
    check("\nlissten = \"x\"", 2, "unknown field `lissten`, expected one of `dir`, `listen`");
    check("write_quorum = \"5\"", 1, "expected u8");
    check("write_quorum = 500", 1, "500");
    check("\n\n= 3", 3, "");
    let missing = GatewayConfig::load(Path::new("/nonexistent/g.toml")).unwrap_err().to_string();
    assert!(
        missing.starts_with("cannot read the configuration /nonexistent/g.toml: "),
        "{missing}"
    );
}

fn node(text: &str) -> Result<NodeConfig, ConfigError> {
    let path = Path::new("n.toml");
    parse::<NodeFile>(path, text)?.check(path)
}

#[test]
fn a_node_is_configured() {
    let config = node("").expect("a configuration");
    assert_eq!((config.capacity, config.reserve), (None, 1 << 30));
    assert_eq!((config.ledger, config.invite, config.advertise), (None, None, None));
    let config = node(&format!(
        "listen = \"0.0.0.0:4433\"\nadvertise = \"node-1:4433\"\ncapacity_bytes = 5\n\
         metrics_listen = \"127.0.0.1:9100\"\n[ledger]\nid = \"{KEY}\"\naddr = \"10.0.0.1:4400\""
    ))
    .expect("a configuration");
    assert_eq!(config.capacity, Some(5));
    assert_eq!(config.advertise.expect("an address").to_string(), "node-1:4433");
    assert!(config.ledger.is_some() && config.metrics_listen.is_some());
}

#[test]
fn a_wrong_node_is_refused() {
    let check = |text: &str, want: &str| refused(node(text), want);
    check(
        "listen = \"0.0.0.0:4433\"",
        "n.toml: advertise = \"\" is empty and nobody can dial 0.0.0.0:4433: \
         write the HOST:PORT others reach",
    );
    check(
        "advertise = \"0.0.0.0:1\"",
        "n.toml: advertise = \"0.0.0.0:1\" is wrong (nobody can dial the wildcard address): \
         write HOST:PORT such as 10.0.0.1:4400 or ledger:4400",
    );
    check(
        "zone = \"a\\nb\"",
        "n.toml: zone = \"a\\nb\" is not a name: write at most 64 bytes without control characters",
    );
    check(
        "invite = \"stratos-invite-zz\"",
        "n.toml: invite = \"stratos-invite-zz\"... is wrong: this is not an invite: copy all of \
         the text that `stratos node invite` printed",
    );
    check(
        "credit_limit_bytes = 1",
        "n.toml: credit_limit_bytes = 1 is out of range: write 1048576 to 1099511627776",
    );
    check(
        "[ledger]\naddr = \"ledger:4400\"",
        "n.toml: ledger.id = \"\" is empty: write what `stratos ledger -c ledger.toml --print-id` \
         prints",
    );
}

fn ledger(text: &str) -> Result<LedgerConfig, ConfigError> {
    let path = Path::new("l.toml");
    parse::<LedgerFile>(path, text)?.check(path)
}

#[test]
fn a_ledger_is_configured() {
    let config = ledger(&format!(
        "gateways = [\"{KEY}\"]\nepoch_seconds = 5\nopening_balance_credits = 1000000\n\
         metrics_listen = \"127.0.0.1:9101\""
    ))
    .expect("a configuration");
    assert_eq!(config.gateways.len(), 1);
    assert_eq!(config.epoch, Duration::from_secs(5));
    assert_eq!(config.opening_balance, Amount(1_000_000 * CREDIT));
    assert_eq!(config.metrics_listen.expect("an address").port(), 9101);
}

#[test]
fn a_wrong_ledger_is_refused() {
    let check = |text: &str, want: &str| refused(ledger(text), want);
    check(
        "",
        "l.toml: gateways = [] is empty: write what `stratos gateway -c gateway.toml --print-id` \
         prints",
    );
    check(
        "gateways = [\"ab\"]",
        "l.toml: gateways = \"ab\" is wrong (expected 64 hex digits for GatewayId, got \"ab\"): \
         write what `stratos gateway -c gateway.toml --print-id` prints",
    );
    check(
        &format!("gateways = [\"{KEY}\", \"{KEY}\"]"),
        &format!("l.toml: gateways = \"{KEY}\" stands there twice: write it once"),
    );
    check("epoch_seconds = 0", "l.toml: epoch_seconds = 0 is out of range: write 1 to 604800");
}
