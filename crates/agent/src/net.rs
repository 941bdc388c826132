//! The network of a machine: a fresh network namespace in which every connection ends at two sockets of the engine.
//!
//! The namespace holds only `lo`. A local default route makes every IPv4 address one of its own, and netfilter turns
//! TCP to any address into a connection to [`TCP_PORT`], and datagrams to any port 53 into ones to [`UDP_PORT`]. All
//! else is dropped, so a machine whose engine is gone reaches nothing. IPv6 has no route but to `::1`.
//!
//! Netfilter is spoken to directly: no `nft` program has to be installed, and it works for root as well as for the
//! owner of an unprivileged user namespace. Needs `nf_tables`, `nat` and `redir` in the kernel.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{self, netdevice, socket_with, AddressFamily, SocketFlags, SocketType};

use crate::netlink::{self, Message};

/// Where redirected TCP connections arrive; the first destination is in `SO_ORIGINAL_DST`.
pub const TCP_PORT: u16 = 15001;
/// Where redirected name queries arrive. Answers leave from the address that was asked.
pub const UDP_PORT: u16 = 15053;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Name of the table, and of nothing else in the namespace.
const TABLE: &[u8] = b"ns\0";

/// The two sockets to hand to the engine. They were made inside, so they belong to the machine's namespace.
#[derive(Debug)]
pub struct NetListeners {
    /// Listening on 127.0.0.1:[`TCP_PORT`].
    pub tcp: OwnedFd,
    /// Bound to 127.0.0.1:[`UDP_PORT`].
    pub udp: OwnedFd,
}

/// Prepares the network namespace of the calling thread, which must be fresh, and opens the sockets.
///
/// Needs `CAP_NET_ADMIN` over it. An error names the step that failed.
pub fn set_up() -> io::Result<NetListeners> {
    step("bring lo up and route to it", routes())?;
    // Nothing leaves the namespace before the rules are there: it has no other device.
    step(
        "load netfilter rules (nf_tables with nat and redir is needed)",
        rules(),
    )?;
    sysctls();
    Ok(NetListeners {
        tcp: step("listen", listen(SocketType::STREAM, TCP_PORT))?,
        udp: step("listen", listen(SocketType::DGRAM, UDP_PORT))?,
    })
}

fn step<T>(what: &str, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|e| io::Error::new(e.kind(), format!("{what}: {e}")))
}

fn routes() -> io::Result<()> {
    let any = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let lo = netdevice::name_to_index(&any, "lo")?;
    let mut up = Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK);
    up.put(&[libc::AF_UNSPEC as u8, 0, 0, 0]); // family and device type
    up.put(&lo.to_ne_bytes());
    up.put(&(libc::IFF_UP as u32).to_ne_bytes()); // flags
    up.put(&(libc::IFF_UP as u32).to_ne_bytes()); // which of them to change

    let mut route = Message::new(
        libc::RTM_NEWROUTE,
        libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL,
    );
    // family, length of destination (0 = default) and source, type of service
    route.put(&[libc::AF_INET as u8, 0, 0, 0]);
    route.put(&[
        libc::RT_TABLE_LOCAL,
        libc::RTPROT_BOOT,
        libc::RT_SCOPE_HOST,
        libc::RTN_LOCAL,
    ]);
    route.put(&0u32.to_ne_bytes());
    route.attribute(libc::RTA_OIF, &lo.to_ne_bytes());
    // Without a preferred source it would be the destination, and answers would not pass the one accepting rule.
    route.attribute(libc::RTA_PREFSRC, &Ipv4Addr::LOCALHOST.octets());
    // `getaddrinfo` of the C library leaves IPv4 out when there is no address but 127.0.0.1 (AI_ADDRCONFIG, which is also
    // what a call without hints means).
    const SECOND: [u8; 4] = [127, 0, 0, 2];
    let mut address = Message::new(
        libc::RTM_NEWADDR,
        libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL,
    );
    // family, length of the prefix, flags, scope
    address.put(&[libc::AF_INET as u8, 32, 0, libc::RT_SCOPE_HOST]);
    address.put(&lo.to_ne_bytes());
    address.attribute(libc::IFA_LOCAL, &SECOND);
    address.attribute(libc::IFA_ADDRESS, &SECOND);
    netlink::request(netlink::ROUTE, &[up, route, address])
}

/// The rules, in the notation of nft(8):
/// ```text
/// table ip ns {
///   chain nat { type nat hook output priority -100;
///     ip daddr 127.0.0.0/8 accept
///     meta l4proto tcp redirect to :15001
///     udp dport 53 redirect to :15053 }
///   chain flt { type filter hook output priority 0; policy drop;
///     ip daddr 127.0.0.0/8 accept }
/// }
/// ```
fn rules() -> io::Result<()> {
    const NAT: &[u8] = b"nat\0";
    const FILTER: &[u8] = b"flt\0";
    let udp: Vec<Expression> = [
        vec![l4proto(), equals(&[libc::IPPROTO_UDP as u8])],
        vec![destination_port(), equals(&53u16.to_be_bytes())],
        redirect(UDP_PORT),
    ]
    .concat();
    let tcp = [
        vec![l4proto(), equals(&[libc::IPPROTO_TCP as u8])],
        redirect(TCP_PORT),
    ]
    .concat();
    netlink::request(
        netlink::NETFILTER,
        &[
            batch(NFNL_MSG_BATCH_BEGIN),
            table(),
            chain(NAT, b"nat\0", -100, NF_ACCEPT),
            chain(FILTER, b"filter\0", 0, NF_DROP),
            rule(NAT, &to_loopback()),
            rule(NAT, &tcp),
            rule(NAT, &udp),
            rule(FILTER, &to_loopback()),
            batch(NFNL_MSG_BATCH_END),
        ],
    )
}

// Numbers of linux/netfilter.h, nfnetlink.h and nf_tables.h that libc does not have for every target.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const NF_INET_LOCAL_OUT: u32 = 3;
const NFT_REG_VERDICT: u32 = 0;
const NFT_REG_1: u32 = 1;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const NFT_CMP_EQ: u32 = 0;
const NFT_META_L4PROTO: u32 = 16;
const NLA_F_NESTED: u16 = 1 << 15;

/// Attribute numbers; those of one kind of object start at 1.
mod nfta {
    pub const TABLE_NAME: u16 = 1;
    pub const CHAIN_TABLE: u16 = 1;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const CHAIN_POLICY: u16 = 5;
    pub const CHAIN_TYPE: u16 = 7;
    pub const HOOK_HOOKNUM: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
    pub const RULE_TABLE: u16 = 1;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const LIST_ELEM: u16 = 1;
    pub const EXPR_NAME: u16 = 1;
    pub const EXPR_DATA: u16 = 2;
    pub const DATA_VALUE: u16 = 1;
    pub const DATA_VERDICT: u16 = 2;
    pub const VERDICT_CODE: u16 = 1;
    pub const PAYLOAD_DREG: u16 = 1;
    pub const PAYLOAD_BASE: u16 = 2;
    pub const PAYLOAD_OFFSET: u16 = 3;
    pub const PAYLOAD_LEN: u16 = 4;
    pub const BITWISE_SREG: u16 = 1;
    pub const BITWISE_DREG: u16 = 2;
    pub const BITWISE_LEN: u16 = 3;
    pub const BITWISE_MASK: u16 = 4;
    pub const BITWISE_XOR: u16 = 5;
    pub const CMP_SREG: u16 = 1;
    pub const CMP_OP: u16 = 2;
    pub const CMP_DATA: u16 = 3;
    pub const META_DREG: u16 = 1;
    pub const META_KEY: u16 = 2;
    pub const IMMEDIATE_DREG: u16 = 1;
    pub const IMMEDIATE_DATA: u16 = 2;
    pub const REDIR_REG_PROTO_MIN: u16 = 1;
}

/// A batch is applied as a whole or not at all.
fn batch(kind: u16) -> Message {
    let mut message = Message::new(kind, 0);
    message.put(&[libc::AF_UNSPEC as u8, 0]);
    message.put(&NFNL_SUBSYS_NFTABLES.to_be_bytes());
    message
}

fn nftables(kind: u16, flags: libc::c_int) -> Message {
    let mut message = Message::new(NFNL_SUBSYS_NFTABLES << 8 | kind, libc::NLM_F_ACK | flags);
    message.put(&[libc::AF_INET as u8, 0, 0, 0]);
    message
}

fn table() -> Message {
    // EXCL: a namespace that has the table already is not a fresh one.
    let mut message = nftables(NFT_MSG_NEWTABLE, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
    message.attribute(nfta::TABLE_NAME, TABLE);
    message
}

fn chain(name: &[u8], kind: &[u8], priority: i32, policy: u32) -> Message {
    let mut message = nftables(NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE);
    message.attribute(nfta::CHAIN_TABLE, TABLE);
    message.attribute(nfta::CHAIN_NAME, name);
    let hook = [
        netlink::attribute(nfta::HOOK_HOOKNUM, &NF_INET_LOCAL_OUT.to_be_bytes()),
        netlink::attribute(nfta::HOOK_PRIORITY, &priority.to_be_bytes()),
    ];
    message.attribute(nfta::CHAIN_HOOK | NLA_F_NESTED, &hook.concat());
    message.attribute(nfta::CHAIN_POLICY, &policy.to_be_bytes());
    message.attribute(nfta::CHAIN_TYPE, kind);
    message
}

fn rule(chain: &[u8], expressions: &[Expression]) -> Message {
    let mut message = nftables(NFT_MSG_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND);
    message.attribute(nfta::RULE_TABLE, TABLE);
    message.attribute(nfta::RULE_CHAIN, chain);
    message.attribute(nfta::RULE_EXPRESSIONS | NLA_F_NESTED, &expressions.concat());
    message
}

/// One expression as an element of the list of a rule.
type Expression = Vec<u8>;

fn expression(name: &[u8], attributes: &[Vec<u8>]) -> Expression {
    let parts = [
        netlink::attribute(nfta::EXPR_NAME, name),
        netlink::attribute(nfta::EXPR_DATA | NLA_F_NESTED, &attributes.concat()),
    ];
    netlink::attribute(nfta::LIST_ELEM | NLA_F_NESTED, &parts.concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    netlink::attribute(kind, &value.to_be_bytes())
}

fn data(kind: u16, value: &[u8]) -> Vec<u8> {
    netlink::attribute(kind | NLA_F_NESTED, &netlink::attribute(nfta::DATA_VALUE, value))
}

fn load(base: u32, offset: u32, len: u32) -> Expression {
    expression(
        b"payload\0",
        &[
            number(nfta::PAYLOAD_DREG, NFT_REG_1),
            number(nfta::PAYLOAD_BASE, base),
            number(nfta::PAYLOAD_OFFSET, offset),
            number(nfta::PAYLOAD_LEN, len),
        ],
    )
}

fn destination_port() -> Expression {
    load(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2)
}

fn l4proto() -> Expression {
    let attributes = [
        number(nfta::META_DREG, NFT_REG_1),
        number(nfta::META_KEY, NFT_META_L4PROTO),
    ];
    expression(b"meta\0", &attributes)
}

/// Goes on only when the register holds `value`.
fn equals(value: &[u8]) -> Expression {
    expression(
        b"cmp\0",
        &[
            number(nfta::CMP_SREG, NFT_REG_1),
            number(nfta::CMP_OP, NFT_CMP_EQ),
            data(nfta::CMP_DATA, value),
        ],
    )
}

fn redirect(port: u16) -> Vec<Expression> {
    let immediate = expression(
        b"immediate\0",
        &[
            number(nfta::IMMEDIATE_DREG, NFT_REG_1),
            data(nfta::IMMEDIATE_DATA, &port.to_be_bytes()),
        ],
    );
    let redirect = expression(b"redir\0", &[number(nfta::REDIR_REG_PROTO_MIN, NFT_REG_1)]);
    vec![immediate, redirect]
}

/// `ip daddr 127.0.0.0/8 accept`.
fn to_loopback() -> Vec<Expression> {
    const DESTINATION_OFFSET: u32 = 16;
    let mask = expression(
        b"bitwise\0",
        &[
            number(nfta::BITWISE_SREG, NFT_REG_1),
            number(nfta::BITWISE_DREG, NFT_REG_1),
            number(nfta::BITWISE_LEN, 4),
            data(nfta::BITWISE_MASK, &[255, 0, 0, 0]),
            data(nfta::BITWISE_XOR, &[0, 0, 0, 0]),
        ],
    );
    let verdict = netlink::attribute(
        nfta::DATA_VERDICT | NLA_F_NESTED,
        &number(nfta::VERDICT_CODE, NF_ACCEPT),
    );
    let accept = expression(
        b"immediate\0",
        &[
            number(nfta::IMMEDIATE_DREG, NFT_REG_VERDICT),
            netlink::attribute(nfta::IMMEDIATE_DATA | NLA_F_NESTED, &verdict),
        ],
    );
    vec![
        load(NFT_PAYLOAD_NETWORK_HEADER, DESTINATION_OFFSET, 4),
        mask,
        equals(&[127, 0, 0, 0]),
        accept,
    ]
}

/// A comfort that not every kernel lets the owner of a namespace have: without it only root binds port 80. Sockets of
/// `ping` stay closed: nothing counts what their buffers hold, and there is nobody to reach but the machine itself.
fn sysctls() {
    let _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
}

fn listen(kind: SocketType, port: u16) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    if kind == SocketType::STREAM {
        net::listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}
