//! Destinations that no policy allows.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

/// Ranges refused on every computer.
const ALWAYS: [(Ipv4Addr, u8); 6] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8), // Linux connects 0.0.0.0 to its own loopback
    (Ipv4Addr::LOCALHOST, 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16), // link-local: metadata services of clouds
    (Ipv4Addr::new(224, 0, 0, 0), 3),    // multicast, reserved, broadcast
    (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's host service
    (Ipv4Addr::new(100, 100, 100, 200), 32), // Alibaba's metadata service
];

/// Whether `address` is refused under every policy: loopback, link-local and metadata addresses, multicast, `extra`
/// ranges, and each address of an interface of this computer. IPv6 is refused as a whole: machines have none.
///
/// The interfaces are read anew for each call (some 50 microseconds), because addresses come and go.
pub(super) fn is_refused(address: IpAddr, extra: &[IpNet]) -> bool {
    is_refused_here(address, extra) || own_addresses().is_none_or(|own| own.contains(&address.to_canonical()))
}

/// The part that needs no look at the computer.
fn is_refused_here(address: IpAddr, extra: &[IpNet]) -> bool {
    let address = address.to_canonical();
    let IpAddr::V4(v4) = address else { return true };
    let is_in = |&(start, len)| Ipv4Net::new_assert(start, len).contains(&v4);
    ALWAYS.iter().any(is_in) || extra.iter().any(|range| range.contains(&address))
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
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_refused_here(address.parse().unwrap(), &[]), "{address}");
        }
    }

    #[test]
    fn extra_ranges_are_refused_too() {
        let extra = ["10.9.0.0/16".parse().unwrap()];
        assert!(is_refused_here("10.9.1.1".parse().unwrap(), &extra));
        assert!(is_refused_here("::ffff:10.9.1.1".parse().unwrap(), &extra));
        assert!(!is_refused_here("10.8.1.1".parse().unwrap(), &extra));
    }

    #[test]
    fn the_addresses_of_this_computer_are_known() {
        assert!(own_addresses()
            .unwrap()
            .contains(&IpAddr::from(Ipv4Addr::LOCALHOST)));
    }
}
