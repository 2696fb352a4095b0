//! `pinhole healthcheck`: asks the service on this machine whether it is ready. An image from scratch has no curl.

use crate::cli::HealthcheckArgs;
use anyhow::Result;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// 0 when ready, 1 when not.
pub fn run(args: &HealthcheckArgs) -> Result<ExitCode> {
    let address = reachable(
        args.listen
            .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, args.port.unwrap_or(8000)))),
    );
    match ask(address, Duration::from_millis(args.timeout_ms.max(1))) {
        Ok(status) if status == "200" => Ok(ExitCode::SUCCESS),
        Ok(status) => {
            eprintln!("The service at {address} is not ready: it answered {status}.");
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            eprintln!("The service at {address} cannot be reached: {error}.");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// An address that is listened on may be "any"; to ask there, name this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// The status of `GET /v2/health/ready`. A request of three lines needs no HTTP library.
fn ask(address: SocketAddr, timeout: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(
        stream,
        "GET /v2/health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    // `HTTP/1.1 200`
    Ok(String::from_utf8_lossy(&head[9..]).into_owned())
}
