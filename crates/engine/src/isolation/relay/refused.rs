//! Destinations that no policy allows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{PoisonError, RwLock};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Ranges refused on every computer, beside those of services of the host.
const ALWAYS: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8), // Linux connects 0.0.0.0 to its own loopback
    (Ipv4Addr::LOCALHOST, 8),
    (Ipv4Addr::new(224, 0, 0, 0), 3), // multicast, reserved, broadcast
];
/// Where clouds tell a computer its credentials.
const HOST_SERVICES: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(169, 254, 0, 0), 16),     // link-local
    (Ipv4Addr::new(192, 0, 0, 0), 24),       // protocol assignments: Oracle's older service
    (Ipv4Addr::new(168, 63, 129, 16), 32),   // Azure
    (Ipv4Addr::new(100, 100, 100, 200), 32), // Alibaba
];
const HOST_SERVICES_V6: [(Ipv6Addr, u8); 2] = [
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10), // link-local
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128), // Amazon
];
/// Addresses behind which translators put the IPv4 ones. Source: RFC 6052.
const TRANSLATED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Whether an address is link-local or another one where clouds tell a computer its credentials.
pub fn is_host_service(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_in(&HOST_SERVICES, v4),
        IpAddr::V6(v6) if TRANSLATED.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            is_in(&HOST_SERVICES, Ipv4Addr::new(a, b, c, d))
        }
        IpAddr::V6(v6) => HOST_SERVICES_V6
            .iter()
            .any(|&(start, len)| Ipv6Net::new_assert(start, len).contains(&v6)),
    }
}

/// Whether connections to an address end at this computer. `true` when its addresses are not known.
pub fn is_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback()
        || address.is_unspecified()
        || own_addresses().is_none_or(|own| own.contains(&address))
}

fn is_in(ranges: &[(Ipv4Addr, u8)], address: Ipv4Addr) -> bool {
    let is_in = |&(start, len)| Ipv4Net::new_assert(start, len).contains(&address);
    ranges.iter().any(is_in)
}

/// Whether `address` is refused under every policy: loopback, link-local and metadata addresses, multicast, `extra`
/// ranges, and each address of an interface of this computer. IPv6 is refused as a whole: machines have none.
///
/// The interfaces are read anew for each call (some 50 microseconds), because addresses come and go.
pub(super) fn is_refused(address: IpAddr, extra: &[IpNet]) -> bool {
    is_refused_here(address, extra)
        || is_of_cluster(address)
        || own_addresses().is_none_or(|own| own.contains(&address.to_canonical()))
}

/// Addresses of the cluster's own parts, which come and go.
static CLUSTER: RwLock<Vec<IpAddr>> = RwLock::new(Vec::new());

/// Refuses these too, on the whole computer, in place of those of the last call.
pub fn refuse_cluster(addresses: Vec<IpAddr>) {
    *CLUSTER.write().unwrap_or_else(PoisonError::into_inner) = addresses;
}

fn is_of_cluster(address: IpAddr) -> bool {
    let cluster = CLUSTER.read().unwrap_or_else(PoisonError::into_inner);
    cluster.contains(&address.to_canonical())
}

/// Addresses at which other computers may reach this one.
pub fn outer_addresses() -> Vec<IpAddr> {
    let is_outer = |address: &IpAddr| address.is_ipv4() && !is_refused_here(*address, &[]);
    let mut outer: Vec<IpAddr> = own_addresses().unwrap_or_default();
    outer.retain(is_outer);
    outer.sort_unstable();
    outer.dedup();
    outer
}

/// The part that needs no look at the computer.
fn is_refused_here(address: IpAddr, extra: &[IpNet]) -> bool {
    let address = address.to_canonical();
    let IpAddr::V4(v4) = address else { return true };
    is_in(&ALWAYS, v4) || is_host_service(address) || extra.iter().any(|range| range.contains(&address))
}

/// Addresses of the interfaces in the engine's network namespace, and what they broadcast to; `None` = not known,
/// then everything is refused.
fn own_addresses() -> Option<Vec<IpAddr>> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
        v4.or_else(|| {
            address
                .as_sockaddr_in6()
                .map(|a| IpAddr::from(a.ip()).to_canonical())
        })
    };
    let both = interfaces.flat_map(|i| [i.address, i.broadcast]);
    Some(both.flatten().filter_map(ip).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_link_local_metadata_and_multicast_are_refused() {
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::1",
            "2001:db8::1",
        ];
        for address in refused {
            assert!(is_refused_here(address.parse().unwrap(), &[]), "{address}");
        }
        for address in [
            "1.1.1.1",
            "10.0.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.0.1",
            "192.0.1.1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_refused_here(address.parse().unwrap(), &[]), "{address}");
        }
    }

    #[test]
    fn services_of_the_host_are_known_in_every_spelling() {
        for address in [
            "169.254.169.254",
            "192.0.0.192",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
        ] {
            assert!(is_host_service(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "64:ff9b::808:808",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert!(!is_host_service(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "::",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_own(address.parse().unwrap()), "{address}");
        }
        assert!(!is_own("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn extra_ranges_are_refused_too() {
        let extra = ["10.9.0.0/16".parse().unwrap()];
        assert!(is_refused_here("10.9.1.1".parse().unwrap(), &extra));
        assert!(is_refused_here("::ffff:10.9.1.1".parse().unwrap(), &extra));
        assert!(!is_refused_here("10.8.1.1".parse().unwrap(), &extra));
    }

    #[test]
    fn parts_of_a_cluster_are_refused_while_they_are_told() {
        let node: IpAddr = "203.0.113.77".parse().unwrap();
        let mapped: IpAddr = "::ffff:203.0.113.77".parse().unwrap();
        assert!(!is_refused(node, &[]));
        refuse_cluster(vec![node]);
        assert!(is_refused(node, &[]) && is_refused(mapped, &[]));
        assert!(!is_refused("203.0.113.78".parse().unwrap(), &[]));
        refuse_cluster(Vec::new());
        assert!(!is_refused(node, &[]));
    }

    #[test]
    fn nobody_else_is_told_of_loopback() {
        assert!(outer_addresses()
            .iter()
            .all(|address| !address.is_loopback() && address.is_ipv4()));
    }

    #[test]
    fn the_addresses_of_this_computer_are_known() {
        assert!(own_addresses()
            .unwrap()
            .contains(&IpAddr::from(Ipv4Addr::LOCALHOST)));
    }
}
