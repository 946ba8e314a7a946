//! Which congestion control the TCP servers use.

use std::net::TcpListener;

/// What this listener accepts uses CUBIC (RFC 9438), Linux' own default, whatever the system was told to use. Many laptops are set to
/// BBR for the sake of the Internet: between machines of one network it paces each segment with a timer, which costs a tenth of a small
/// read's processor time, and four times a minute it slows a disk to four segments in flight. Where it is not to be had the system's
/// choice stays: that is slower, not wrong.
pub(crate) fn suit_a_lan(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_congestion(listener, "cubic");
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn accepted_connections_inherit_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        suit_a_lan(&listener);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(rustix::net::sockopt::tcp_congestion(&accepted).unwrap(), "cubic");
    }
}
