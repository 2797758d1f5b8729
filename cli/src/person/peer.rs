//! Who is at the other end of a connection on this machine?
//!
//! Any user of the machine can connect to a listener of ours, and can read a browser's arguments. On Linux the kernel says
//! whose socket the other end is; elsewhere nobody is turned away.

#[cfg(any(target_os = "linux", test))]
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tokio::net::TcpStream;

/// Whether the other end is this person's. The system's own user counts, too: it can read everything anyway, and it is
/// the one that carries connections of a browser on Windows into WSL.
#[cfg(target_os = "linux")]
pub(super) fn is_ours(stream: &TcpStream) -> bool {
    let (Ok(here), Ok(there)) = (stream.local_addr(), stream.peer_addr()) else { return false };
    let tables: Vec<String> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    // Without /proc nobody says so.
    let user = rustix::process::geteuid().as_raw();
    tables.is_empty()
        || tables.iter().find_map(|table| owner(table, there, here)).is_some_and(|owner| owner == user || owner == 0)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_ours(_: &TcpStream) -> bool {
    true
}

/// The owner of the open socket from one address to the other. A closed socket does not count: it has no owner any more,
/// and the kernel names the system's own user instead.
#[cfg(any(target_os = "linux", test))]
fn owner(table: &str, from: SocketAddr, to: SocketAddr) -> Option<u32> {
    let (from, to) = (names(from), names(to));
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let is_from = from.iter().any(|name| Some(name.as_str()) == fields.clone().next());
        let is_to = to.iter().any(|name| Some(name.as_str()) == fields.clone().nth(1));
        // ESTABLISHED
        let is_open = fields.clone().nth(2) == Some("01");
        if is_from && is_to && is_open { fields.nth(6)?.parse().ok() } else { None }
    })
}

/// An address as the kernel's tables have it, with words in the machine's own order. A socket for both versions of IP has
/// one of IPv4 in another form.
#[cfg(any(target_os = "linux", test))]
fn names(address: SocketAddr) -> Vec<String> {
    let four = |word: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(word));
    let six =
        |ip: Ipv6Addr| ip.octets().chunks(4).filter_map(|word| word.try_into().ok()).map(four).collect::<String>();
    let names = match address.ip() {
        IpAddr::V4(ip) => vec![four(ip.octets()), six(ip.to_ipv6_mapped())],
        IpAddr::V6(ip) => vec![six(ip)],
    };
    let port = address.port();
    names.into_iter().map(|name| format!("{name}:{port:04X}")).collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    #[cfg(target_endian = "little")]
    #[test]
    fn the_owner_is_that_of_the_open_socket_at_the_other_end() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (browser, us) = (address("127.0.0.1:40000"), address("127.0.0.1:8080"));
        let line = |from: &str, to: &str, state: &str, user: u32| {
            format!("{HEAD}   0: {from} {to} {state} 00000000:00000000 00:00000000 00000000  {user}        0 12345 1\n")
        };
        let (there, here) = ("0100007F:9C40", "0100007F:1F90");
        assert_eq!(owner(&line(there, here, "01", 1_000), browser, us), Some(1_000));
        // Our own end of it.
        assert_eq!(owner(&line(here, there, "01", 1_000), browser, us), None);
        for state in ["04", "05", "06", "08", "0A"] {
            assert_eq!(owner(&line(there, here, state, 0), browser, us), None, "{state}");
        }
        assert_eq!(owner(&line("0100007F:9C41", here, "01", 1_000), browser, us), None);
        let mapped = |port: &str| format!("0000000000000000FFFF00000100007F:{port}");
        assert_eq!(owner(&line(&mapped("9C40"), &mapped("1F90"), "01", 7), browser, us), Some(7));
        let six = |port: &str| format!("00000000000000000000000001000000:{port}");
        let (browser, us) = (address("[::1]:40000"), address("[::1]:8080"));
        assert_eq!(owner(&line(&six("9C40"), &six("1F90"), "01", 7), browser, us), Some(7));
        let cut = format!("{HEAD}   0: {} {} 01 0:0", six("9C40"), six("1F90"));
        for odd in ["", "x", "a\nb c", &cut] {
            assert_eq!(owner(odd, browser, us), None);
        }
    }

    #[tokio::test]
    async fn a_connection_of_this_persons_own_is_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(is_ours(&stream));
        drop(client);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_of_another_user_is_not() {
        // Only the system's own user can become another one.
        if rustix::process::geteuid().as_raw() != 0 {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; read -r <&3", listener.local_addr().unwrap().port());
        let mut command = tokio::process::Command::new("bash");
        let mut other = command.args(["-c", &script]).uid(65_534).kill_on_drop(true).spawn().unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(!is_ours(&stream));
        other.kill().await.unwrap();
    }
}
