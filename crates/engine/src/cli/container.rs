//! The computer below a container. Its services are none of a machine's business, and the addresses of the container, which are
//! refused anyway, do not tell where they are.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::Path;

use ipnet::IpNet;

/// What container engines leave for programs that want to know where they are.
const MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
/// Names of the computer below.
const NAMES: [&str; 3] = [
    "host.docker.internal",
    "gateway.docker.internal",
    "host.containers.internal",
];

/// Addresses of the computer below this container; none where this is no container.
pub fn below() -> Vec<IpNet> {
    if !MARKS.iter().any(|mark| Path::new(mark).exists()) {
        return Vec::new();
    }
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let named = NAMES
        .iter()
        .filter_map(|name| (*name, 0).to_socket_addrs().ok())
        .flatten()
        .map(|address| address.ip());
    let gateways = gateways(&routes).into_iter().map(IpAddr::from);
    gateways.chain(named).map(IpNet::from).collect()
}

/// Gateways of the default routes in `/proc/net/route`: columns of hexadecimal digits, least byte first.
fn gateways(routes: &str) -> Vec<Ipv4Addr> {
    let gateway = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let (destination, gateway) = (columns.next()?, columns.next()?);
        let address = u32::from_str_radix(gateway, 16).ok()?;
        (destination == "00000000" && address != 0).then(|| Ipv4Addr::from(address.swap_bytes()))
    };
    routes.lines().filter_map(gateway).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_of_the_default_route_is_found() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                      eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                      eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(gateways(routes), [Ipv4Addr::new(172, 17, 0, 1)]);
        assert_eq!(gateways(""), Vec::<Ipv4Addr>::new());
    }
}
