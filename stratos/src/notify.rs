//! Tells the service manager how far the process is.
//!
//! systemd names a datagram socket in `NOTIFY_SOCKET`; a unit of
//! `Type=notify` counts as started once `READY=1` arrives there. Without that
//! variable every function here does nothing.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says that requests are served from now on.
pub fn ready() -> io::Result<()> {
    tell("READY=1")
}

/// Says that the process drains and will end.
pub fn stopping() -> io::Result<()> {
    tell("STOPPING=1")
}

fn tell(state: &str) -> io::Result<()> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(socket) if !socket.is_empty() => send(&socket, state),
        _ => Ok(()),
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    // A name that begins with `@` lives in the kernel, not in a folder.
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let len = listener.recv(&mut buffer).expect("a datagram");
        String::from_utf8(buffer[..len].to_vec()).expect("text")
    }

    #[test]
    fn the_state_arrives_at_a_socket_in_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).expect("a socket");
        send(path.as_os_str(), "READY=1").expect("sent");
        assert_eq!(receive(&listener), "READY=1");
    }

    #[test]
    fn the_state_arrives_at_an_abstract_socket() {
        let name = format!("stratos-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixDatagram::bind_addr(&address).expect("a socket");
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").expect("sent");
        assert_eq!(receive(&listener), "STOPPING=1");
    }

    #[test]
    fn a_socket_that_nobody_reads_is_an_error_and_not_a_panic() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = send(folder.path().join("absent").as_os_str(), "READY=1").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
